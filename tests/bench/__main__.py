"""Benchmarks: `python -m tests.bench [NAME…] [--quick] [--json FILE] [--peer COMMAND]`.

Measures on loopback, with its own processes, what the daemon promises, and a reference in the same run. A missed target
is shown but is no error: the exit status is 1 only if a benchmark could not be carried out. Each figure is said when it
is known; Ctrl-C ends with the table of those so far.
"""

import argparse
import json
import logging
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from tests.bench import (
    browser,
    conversion,
    cpu,
    efficiency,
    engine,
    growth,
    ip_rows,
    journal,
    latency,
    lease,
    links,
    memory,
    nodes,
    overload,
    parsers,
    redirects,
    restart,
)
from tests.bench import bytes as bytes_on_the_wire
from tests.bench.figures import Figure, shown
from tests.bench.scene import Scene

Benchmark = Callable[[Scene, bool, Callable[[str], None]], Iterable[Figure]]
BENCHMARKS: dict[str, Benchmark] = {
    "lease": lease.run,
    "latency": latency.run,
    "efficiency": efficiency.run,
    "memory": memory.run,
    "journal": journal.run,
    "restart": restart.run,
    "overload": overload.run,
    "cpu": cpu.run,
    "redirects": redirects.run,
    "nodes": nodes.run,
    "parsers": parsers.run,
    "engine": engine.run,
    "browser": browser.run,
    "bytes": bytes_on_the_wire.run,
    "links": links.run,
    "growth": growth.run,
    "ip_rows": ip_rows.run,
    "conversion": conversion.run,
}
ABOUT = {name: (sys.modules[run.__module__].__doc__ or "").split("\n")[0] for name, run in BENCHMARKS.items()}
VERDICTS = {True: "[green]ok[/]", False: "[red]missed[/]", None: ""}


def main(words: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(words)
    names = options.names or list(BENCHMARKS)
    if unknown := set(names) - set(BENCHMARKS):
        _parser().error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    # Some benchmarks run the daemon's code in this process; its log must not mix with the progress lines.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    out, progress = Console(), Console(stderr=True, highlight=False)
    found: dict[str, list[Figure]] = {}
    broken = []
    with Scene(options.peer) as scene:
        for name in names:
            began_s = time.perf_counter()

            def say(what: str, name: str = name, began_s: float = began_s) -> None:
                progress.print(f"[dim]{time.perf_counter() - began_s:6.1f} s[/]  {name}: {what}")

            try:
                found[name] = []
                for figure in BENCHMARKS[name](scene, options.quick, say):
                    found[name].append(figure)  # also those before a failure
                    say(f"{figure.name}: {shown(figure.measured, figure.unit)} {VERDICTS[figure.ok]}")
            except BaseException as e:
                broken.append(name)
                if not isinstance(e, Exception):  # Ctrl-C, from Trio in a group
                    progress.print(f"{name} was interrupted: the figures so far follow")
                    break
                progress.print(f"[red]{name} broke[/]")
                traceback.print_exc()
    out.print(_table(found))
    file = options.json or Path(f"bench-{date.today().isoformat()}.json")
    file.write_text(json.dumps(_as_json(found, broken, options.quick), indent=1, ensure_ascii=False) + "\n")
    out.print(f"written to {file}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<11} {about}" for name, about in ABOUT.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        epilog=f"benchmarks:\n{listed}\n\nexample:\n  python -m tests.bench lease cpu --quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the figures (default: bench-<date>.json)")
    parser.add_argument(
        "--peer",
        default="",
        metavar="COMMAND",
        help="command of another service to compare with: see tests/bench/cpu.py",
    )
    parser.add_argument("--quick", action="store_true", help="short runs, to check that everything works")
    return parser


def _table(found: dict[str, list[Figure]]) -> Table:
    table = Table(show_lines=True)
    for column in ("figure", "measured", "reference, same run", "target", ""):
        table.add_column(column)
    for figure in (figure for figures in found.values() for figure in figures):
        reference = "" if figure.reference is None else shown(figure.reference, figure.unit)
        target = ""
        if figure.target is not None:
            target = f"{'≥' if figure.at_least else '≤'} {shown(figure.target, figure.unit)}"
        table.add_row(
            figure.name + (f"\n[dim]{figure.note}[/]" if figure.note else ""),
            shown(figure.measured, figure.unit),
            reference + (f"\n[dim]{figure.beside}[/]" if figure.beside else ""),
            target,
            VERDICTS[figure.ok],
        )
    return table


def _as_json(found: dict[str, list[Figure]], broken: list[str], quick: bool) -> dict[str, object]:
    return {
        "date": date.today().isoformat(),
        "quick": quick,
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "system": platform.system(),
            "load": os.getloadavg(),
        },
        "figures": {name: [figure.as_dict() for figure in figures] for name, figures in found.items()},
        "broken": broken,
    }


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a stop ends what was started, too
    sys.exit(main())
