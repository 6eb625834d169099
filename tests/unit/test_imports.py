"""The shape of the code, read from its syntax: imports run downward, pure files are pure, functions fit a screen."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "daemon").rglob("*.py"))
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 320
EMPTY_NAMES = {"utils", "helpers", "common", "manager", "util", "helper", "misc"}

# Decisions, records and parsers: no clock, no logger, no I/O, nothing that waits.
PURE = {
    "daemon",
    "daemon.errors",
    "daemon.moment",
    "daemon.click.answer",
    "daemon.click.heads",
    "daemon.click.macros",
    "daemon.click.offer_values",
    "daemon.click.offers",
    "daemon.click.parse",
    "daemon.click.passing",
    "daemon.click.tally",
    "daemon.click.turns",
    "daemon.click.urls",
    "daemon.click.visitor",
    "daemon.control.access",
    "daemon.control.history",
    "daemon.control.outlook",
    "daemon.control.reading",
    "daemon.database.cursors",
    "daemon.database.offer_rows",
    "daemon.database.provision_rows",
    "daemon.database.records",
    "daemon.journal.entries",
    "daemon.journal.replay",
    "daemon.logbook.drawn",
    "daemon.logbook.lines",
    "daemon.logbook.selection",
    "daemon.logbook.story",
    "daemon.logbook.telling",
    "daemon.maintenance.advice",
    "daemon.maintenance.advice_pools",
    "daemon.maintenance.advice_times",
    "daemon.maintenance.figures",
    "daemon.maintenance.plan",
    "daemon.maintenance.sizing",
    "daemon.nodes.membership",
    "daemon.pool.changed",
    "daemon.pool.checks",
    "daemon.pool.countries",
    "daemon.pool.decision",
    "daemon.pool.departed",
    "daemon.pool.messages",
    "daemon.pool.out_of_use",
    "daemon.pool.outlook",
    "daemon.pool.pool",
    "daemon.pool.prospects",
    "daemon.pool.queues",
    "daemon.pool.selection",
    "daemon.pool.states",
    "daemon.trace.addresses",
    "daemon.trace.body",
    "daemon.trace.budget",
    "daemon.trace.charsets",
    "daemon.trace.codings",
    "daemon.trace.cookies",
    "daemon.trace.forms",
    "daemon.trace.hops",
    "daemon.trace.html",
    "daemon.trace.jobs",
    "daemon.trace.markup",
    "daemon.trace.provider_health",
    "daemon.trace.proxies",
    "daemon.trace.spending",
    "daemon.trace.scripts",
    "daemon.trace.statements",
    "daemon.trace.steps",
    "daemon.trace.tokens",
    "daemon.trace.urls",
    "daemon.trace.verdicts",
}
PARSERS = {"ada_url", "backports", "brotli", "compression", "msgspec", "selectolax", "webencodings"}
IMPURE_STANDARD = {"asyncio", "logging", "os", "pathlib", "random", "select", "signal", "socket", "sqlite3"}
IMPURE_STANDARD |= {"subprocess", "sys", "tempfile", "threading", "time"}

# Below: who may import whom. A module's layer is that of the longest name here that it begins with.
GROUND, PORTS, ACTORS, FACES, SUPERVISOR, COMMAND = range(6)
LAYERS = {
    "daemon.config": PORTS,
    "daemon.config_sources": PORTS,
    "daemon.providers": PORTS,
    "daemon.reload": PORTS,
    "daemon.clocks": PORTS,
    "daemon.hangup": PORTS,
    "daemon.logs": PORTS,
    "daemon.oneshot": PORTS,
    "daemon.state_dir": PORTS,
    "daemon.systemd": PORTS,
    "daemon.unit_files": PORTS,
    "daemon.database": PORTS,
    "daemon.nodes": PORTS,
    "daemon.troubles": PORTS,
    "daemon.journal": ACTORS,
    "daemon.pool": ACTORS,
    "daemon.trace": ACTORS,
    "daemon.maintenance": ACTORS,
    "daemon.click.clicks": ACTORS,
    "daemon.click": FACES,
    "daemon.control": FACES,
    "daemon.logbook": FACES,
    "daemon.collector": SUPERVISOR,
    "daemon.descriptors": SUPERVISOR,
    "daemon.parts": SUPERVISOR,
    "daemon.restarts": SUPERVISOR,
    "daemon.start_lines": SUPERVISOR,
    "daemon.reloading": SUPERVISOR,
    "daemon.supervisor": SUPERVISOR,
    "daemon.tracer_role": SUPERVISOR,
    "daemon.watchdog": SUPERVISOR,
    "daemon.cli": COMMAND,
    "daemon.demo": COMMAND,
    "daemon.__main__": COMMAND,
}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


# The control face's own files: what all resources share, and the resources.
CONTROL = {
    "daemon.control.api",
    "daemon.control.face",
    "daemon.control.openapi",
    "daemon.control.problems",
    "daemon.control.standing",
}
CONTROL |= {name for name in MODULES if name.startswith("daemon.control.resources.")}

# Libraries that one place alone knows.
OWNERS = {
    "asyncpg": {
        "daemon.database.postgres",
        "daemon.database.failures",
        "daemon.cli.session",
    },  # the command turns PostgreSQL's words into its own
    "trio_asyncio": {"daemon.database.postgres"},
    # Beside the spool, those who say what its disk refuses.
    "sqlite3": {
        "daemon.journal.spool",
        "daemon.journal.writer",
        "daemon.journal.shipper",
        "daemon.control.overview",
        "daemon.parts",
    },
    "asyncio": {"daemon.database.postgres"},
    "quart": CONTROL,
    "quart_trio": {"daemon.control.connection", "daemon.control.face"},
    "quart_schema": CONTROL,
    "werkzeug": {"daemon.control.face", "daemon.control.openapi"},
    "hypercorn": {"daemon.control.connection"},
    "httptools": {"daemon.trace.exchange", "daemon.click.plain_http"},
    # The demo's visitors, and a trace service; never a trace itself.
    "httpx": {"daemon.demo.visitors", "daemon.demo.daemon_process", "daemon.trace.service"},
    "prometheus_client": {"daemon.control.metrics"},
}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), str(MODULES[module]))


@cache
def imports_of(module: str) -> frozenset[str]:
    """What a module imports anywhere in it; `from daemon.database import cluster` is daemon.database.cluster."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return frozenset(found)


def layer_of(module: str) -> int:
    if module in PURE:
        return GROUND
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if (found := LAYERS.get(".".join(parts[:length]))) is not None:
            return found
    raise AssertionError(f"{module} has no layer: say in this test where it stands")


def ours(module: str) -> list[str]:
    return [name for name in imports_of(module) if name.split(".")[0] == "daemon"]


def test_the_lists_here_name_modules_that_are_there() -> None:
    assert MODULES.keys() >= PURE
    assert {owner for owners in OWNERS.values() for owner in owners} <= MODULES.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward_only(module: str) -> None:
    upward = [name for name in ours(module) if layer_of(name) > layer_of(module)]
    assert not upward


@pytest.mark.parametrize("module", sorted(PURE & MODULES.keys()))
def test_a_pure_file_imports_nothing_that_waits_or_reads_a_clock(module: str) -> None:
    for name in imports_of(module):
        top = name.split(".")[0]
        if top == "daemon":
            assert name in PURE, name
        else:
            assert top in PARSERS or (top in sys.stdlib_module_names and top not in IMPURE_STANDARD), name


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_known_in_its_place_only(library: str) -> None:
    users = {module for module in MODULES if any(name.split(".")[0] == library for name in imports_of(module))}
    assert users <= OWNERS[library]


@pytest.mark.parametrize("module", sorted(name for name in CONTROL if ".resources." in name))
def test_a_resource_has_models_whose_schema_is_built_once(module: str) -> None:
    """quart-schema builds the schema of a plain dataclass anew for each request."""
    plain = [
        node for node in ast.walk(tree_of(module)) if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
    ]
    assert "dataclass" not in {alias.name for node in plain for alias in node.names}


def test_nothing_but_serve_imports_the_supervisor() -> None:
    assert {module for module in MODULES if "daemon.supervisor" in imports_of(module)} == {"daemon.cli.serve"}


def test_no_import_runs_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, f"a circle: {' -> '.join((*above, module))}"
        if module in done:
            return
        for name in ours(module):
            visit(name, (*above, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_a_function_fits_a_screen_and_a_file_is_one_idea(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= FILE_LINES_MAX
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= FUNCTION_LINES_MAX, node.name


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_named_for_what_it_is(module: str) -> None:
    assert not EMPTY_NAMES & set(module.split(".")[-1].split("_"))


@pytest.mark.parametrize("module", MODULES)
def test_no_error_is_passed_over_in_silence(module: str) -> None:
    """`except …: pass` says nothing to anybody; contextlib.suppress with a reason does."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            if all(isinstance(inner, ast.Pass) for inner in node.body):
                line = MODULES[module].read_text().splitlines()[node.body[0].lineno - 1]
                assert "#" in line, f"line {node.lineno}: an error passed over without a reason"
