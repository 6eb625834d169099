"""Rules of the code, checked on its syntax tree: imports point down, pure modules are pure, functions are short.

The order of the packages and the owners of libraries are in daemon/ARCHITECTURE.md. The docstring of a pure module
has the word "Pure".
"""

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARCHITECTURE = (ROOT / "daemon" / "ARCHITECTURE.md").read_text()
FILES = sorted((ROOT / "daemon").rglob("*.py"))
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 320
EMPTY_NAMES = {"utils", "helpers", "common", "manager", "util", "helper", "misc", "handler", "data"}

# A pure module may import these, the pure part of the standard library, and other pure modules.
PARSERS = {"ada_url", "backports", "brotli", "compression", "iso3166", "msgspec", "publicsuffixlist", "pydantic"}
PARSERS |= {"selectolax", "webencodings"}
IMPURE_STANDARD = {"asyncio", "logging", "os", "pathlib", "random", "select", "signal", "socket", "sqlite3"}
IMPURE_STANDARD |= {"subprocess", "sys", "tempfile", "threading", "time"}


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert found, f"daemon/ARCHITECTURE.md has no section {title!r}"
    return found[1]


def order_of_packages() -> dict[str, int]:
    """The place of each package and top-level module, 0 is the top. Its list item begins with the name in backticks."""
    names = [
        name.rstrip("/").removesuffix(".py")
        for item in re.findall(r"^- ((?:`[\w/.]+`,? ?)+)", section("The packages, in their order"), re.MULTILINE)
        for name in re.findall(r"`([\w/.]+)`", item)
    ]
    assert len(names) == len(set(names)), "a package has one place"
    return {name: place for place, name in enumerate(names)}


def owners_of_libraries() -> dict[str, list[str]]:
    """For each library the modules and packages that may import it, from the rows `| library | modules |`."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section("Libraries in one place"), re.MULTILINE)
    return {
        library: ["daemon." + name.rstrip("/").removesuffix(".py").replace("/", ".") for name in where]
        for library, where in ((library, re.findall(r"`([\w/.]+)`", cell)) for library, cell in rows)
    }


ORDER = order_of_packages()
OWNERS = owners_of_libraries()


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), str(MODULES[module]))


@cache
def imports_of(module: str) -> frozenset[str]:
    """All imports of a module; `from daemon.database import cluster` counts as daemon.database.cluster."""
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


def ours(module: str) -> list[str]:
    return [name for name in imports_of(module) if name.split(".")[0] == "daemon"]


def package_of(module: str) -> str:
    """`trace` for `daemon.trace.wire.tls`. `daemon` itself, which has the version, is at the bottom."""
    return module.split(".")[1] if "." in module else "daemon"


def is_pure(module: str) -> bool:
    return module == "daemon" or re.search(r"\bPure\b", ast.get_docstring(tree_of(module)) or "") is not None


def is_in(module: str, places: list[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def test_each_package_and_top_module_has_its_place_in_the_order() -> None:
    assert {package_of(module) for module in MODULES} - {"daemon"} == ORDER.keys()


def test_the_owners_of_libraries_exist() -> None:
    assert OWNERS
    for places in OWNERS.values():
        assert places
        assert all(place in MODULES for place in places), places


@pytest.mark.parametrize("module", MODULES)
def test_a_package_imports_only_packages_below_it(module: str) -> None:
    if module == "daemon":
        assert not ours(module)
        return
    place = ORDER[package_of(module)]
    assert not [name for name in ours(module) if name != "daemon" and ORDER[package_of(name)] < place]


@pytest.mark.parametrize("module", [module for module in MODULES if is_pure(module)])
def test_a_pure_module_imports_nothing_that_waits_or_reads_a_clock(module: str) -> None:
    for name in imports_of(module):
        top = name.split(".")[0]
        if top == "daemon":
            assert is_pure(name), name
        else:
            assert top in PARSERS or (top in sys.stdlib_module_names and top not in IMPURE_STANDARD), name


@pytest.mark.parametrize("module", [module for module in MODULES if package_of(module) == "web"])
def test_every_module_of_web_is_pure(module: str) -> None:
    assert is_pure(module) or not MODULES[module].read_text()


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_is_imported_in_its_place_only(library: str) -> None:
    users = {module for module in MODULES if any(name.split(".")[0] == library for name in imports_of(module))}
    assert users
    assert not [user for user in users if not is_in(user, OWNERS[library])]


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("daemon.control.resources.")])
def test_a_resource_has_models_whose_schema_is_built_once(module: str) -> None:
    """quart-schema builds the schema of a plain dataclass again for each request."""
    plain = [
        node for node in ast.walk(tree_of(module)) if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
    ]
    assert "dataclass" not in {alias.name for node in plain for alias in node.names}


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
    """`except …: pass` needs a comment with the reason."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            if all(isinstance(inner, ast.Pass) for inner in node.body):
                line = MODULES[module].read_text().splitlines()[node.body[0].lineno - 1]
                assert "#" in line, f"line {node.lineno}: an error passed over without a reason"
