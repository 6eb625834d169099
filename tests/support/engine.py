"""The JavaScript engine in the tests' own process: without a sandbox, so for trusted pages only."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from ada_url import URL

from daemon.trace.engine.child import outcome_of, template
from daemon.trace.engine.engines import completed
from daemon.trace.engine.records import PageOutcome, PageRequest
from daemon.trace.page.html import Jump, Page, Source, read_page
from daemon.trace.page.refreshes import declared_refresh


def run_here(request: PageRequest) -> PageOutcome:
    """Runs a page in a new context."""
    return msgspec.json.decode(outcome_of(template(), completed(request)), type=PageOutcome)


class EngineHere:
    """A PageEngine. `requests` are those so far."""

    def __init__(self) -> None:
        self.requests: list[PageRequest] = []

    async def run(self, request: PageRequest) -> PageOutcome:
        self.requests.append(request)
        return run_here(request)


@dataclass(frozen=True, slots=True)
class Found:
    """Where a page goes, by its markup or by the engine (`ran`). `why`: it may go on to a URL that is not certain."""

    page: Page
    jump: Jump | None = None
    why: str | None = None
    ran: bool = False


def page_read(
    data: bytes, url: str, *, charset: str | None = "utf-8", whole: bool = True, refresh: str | None = None,
    policies: tuple[str, ...] = (), scripts: Mapping[str, str | None] | None = None,
) -> Found:  # fmt: skip
    """Reads the page at `url`. `refresh` is its Refresh header, `scripts` are its external scripts by URL."""
    header = None if refresh is None else declared_refresh(refresh, URL(url), URL(url))
    page = read_page(data, Source(URL(url), charset, 10, header, policies), whole=whole)
    if (document := page.document) is None:
        return Found(page, page.jump)
    found = run_here(
        PageRequest(
            url,
            document.text,
            document.encoding,
            whole,
            refresh=refresh,
            policies=policies,
            scripts=scripts or {},
            schemes=("http", "https", "exampleapp"),
        )
    )
    if found.kind == "goes":
        jump = Jump(found.how, found.url, found.method, found.body, found.content_type)
        return Found(page, jump, ran=True)
    return Found(page, why=(found.why or "?") if found.kind == "unresolved" else None, ran=True)
