"""`python -m tests.pages`: lands each page of the corpus by tracepool, and compares with where Chromium lands.

`--judge` asks Chromium and compares with the files; `--write` writes its answers into them. Without either, the files
are believed.
"""

import argparse
import logging
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import structlog
import trio
from rich.console import Console
from rich.table import Table

from daemon.trace.browser.command import PACKAGE, browser_program
from tests.pages.chromium import judge_all
from tests.pages.corpus import JumpPage, corpus, write
from tests.pages.landing import trace_all
from tests.pages.shares import OUTCOMES, outcome_of


def main(words: list[str] | None = None) -> int:
    options = _parser().parse_args(words)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    pages, failed = corpus(options.only), False
    if options.judge or options.write:
        pages, failed = _judged(pages, options)
    if not options.no_trace:
        _trace(pages, options)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.pages", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="pages whose name has this text")
    parser.add_argument("--judge", action="store_true", help="ask Chromium where it lands")
    parser.add_argument("--write", action="store_true", help="and write its answers into the files")
    parser.add_argument("--real", action="store_true", help="on the real clock: 11 s for pages that stay")
    parser.add_argument("--tracer", choices=("http", "auto", "browser"), default="http")
    parser.add_argument("--no-trace", action="store_true", help="do not land them by tracepool")
    parser.add_argument("-v", "--verbose", action="store_true", help="show each page, not only those that differ")
    return parser


def _judged(pages: list[JumpPage], options: argparse.Namespace) -> tuple[list[JumpPage], bool]:
    program = browser_program()
    if program is None:
        sys.exit(f"needs the package {PACKAGE}")
    tabs = 60 if options.real else 12
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        found = trio.run(lambda: judge_all(program, Path(profile), pages, real=options.real, tabs=tabs))
    failed, told = False, []
    for page in pages:
        judged = found[page.name]
        if judged is None:
            print(f"{page.path}: Chromium did not get the page")
            failed = True
        elif not page.agrees(judged):
            if not options.write or page.told is not None:
                print(f"{page.path}: Chromium lands at {judged}, the file says {page.told}")
            failed = failed or not options.write
            page = write(page, judged) if options.write else page
        told.append(page)
    return told, failed


def _trace(pages: list[JumpPage], options: argparse.Namespace) -> None:
    pages = [page for page in pages if page.told is not None]
    found = trio.run(trace_all, pages, options.tracer)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for page in pages:
        outcome = outcome_of(page, found[page.name])
        counts[page.kind][outcome] += 1
        counts["in sum"][outcome] += 1
        if options.verbose or outcome not in ("lands", "stays"):
            traced = found[page.name]
            kinds, ours = " ".join(traced.kinds), traced.landing or ""
            print(f"{outcome:<10} {page.name}: {kinds} {ours} {traced.why}; Chromium {page.told}")
    table = Table("kind", "pages", *OUTCOMES)
    for kind, outcomes in counts.items():
        if kind != "in sum":
            table.add_row(kind, str(outcomes.total()), *(str(outcomes[name] or "") for name in OUTCOMES))
    table.add_section()
    table.add_row("in sum", str(counts["in sum"].total()), *(str(counts["in sum"][name] or "") for name in OUTCOMES))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
