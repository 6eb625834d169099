"""What the daemon asks of the JavaScript engine for a page, and what the engine found. Pure."""

from collections.abc import Mapping
from typing import Literal, Protocol

import msgspec

Kind = Literal["stays", "goes", "needs", "unresolved"]
How = Literal["", "script", "form", "meta", "refresh-header", "link"]


class PageRequest(msgspec.Struct, frozen=True):
    """A page whose scripts are to run. `html` is decoded text; `encoding` is its name in the Encoding Standard.

    - whole: False if the daemon cut the page; a script that was not complete does not run.
    - open: the rest of the page may still come, so that neither its deferred scripts nor its load event are due.
    - cookie: document.cookie, the cookies of this URL without those that are HttpOnly.
    - now_ms: the wall clock at which the page's virtual clock begins.
    - refresh: the text of the Refresh header. policies: those of the Content-Security-Policy headers.
    - scripts: the external scripts that were fetched, by absolute URL; None for one that could not be fetched.
    - fetches_left: how many further external scripts the daemon would fetch. At 0, a script that is not in `scripts` is
      unknown; `unknown_stay`: if the page does not jump, unknown scripts are taken to stay on it, too.
    - tree: that of `html` (trees.py), if it is known already: it costs 20 times as much in a page's process, which has
      used nothing yet. seed: of Math.random, four numbers of 32 bits. The engines fill in both.
    - kept: what the tab kept of the trace's pages before, as the last outcome gave it.
    - harmless_hosts: their scripts only measure; one that is not in `scripts` counts as a script that does nothing.
    - schemes: a jump to a URL of another scheme does nothing, as where no app is installed for it.
    """

    url: str
    html: str
    encoding: str
    whole: bool
    open: bool = False
    referrer: str = ""
    cookie: str = ""
    user_agent: str = ""
    languages: tuple[str, ...] = ()
    now_ms: float = 0
    refresh_max_s: float = 10
    refresh: str | None = None
    policies: tuple[str, ...] = ()
    scripts: Mapping[str, str | None] = {}
    fetches_left: int = 0
    unknown_stay: bool = False
    schemes: tuple[str, ...] = ("http", "https")
    harmless_hosts: tuple[str, ...] = ()
    kept: str = ""
    tree: msgspec.Raw = msgspec.Raw(b"null")
    seed: tuple[int, ...] = (1, 2, 3, 4)


class PageOutcome(msgspec.Struct, frozen=True):
    """Where a page sends its visitor.

    - stays: the page does not jump.
    - goes: the page jumps to `url`, which is absolute and has its fragment, by a request of `method` with `body`, after
      `delay_s` on the page's virtual clock. A jump by a link with rel=noreferrer has `no_referrer`.
    - needs: the external scripts `needs`, in the order in which a browser would run them.
    - unresolved: `why` names what the engine lacks, or the limit that the page exceeded.

    `cookies` are the assignments to document.cookie before the end, in order. `kept` is for the trace's next page: the
    name of the window and the storages of the origins, in a form that only page.js reads. Both count for each kind.
    """

    kind: Kind
    how: How = ""
    url: str = ""
    method: str = "GET"
    body: bytes = b""
    content_type: str = ""
    delay_s: float = 0
    needs: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    why: str = ""
    text_characters: int = 0
    referrer_policies: tuple[str, ...] = ()
    no_referrer: bool = False
    kept: str = ""


class PageEngine(Protocol):
    """Runs the scripts of pages. Raises nothing but trio.Cancelled, and returns within a bounded time."""

    async def run(self, request: PageRequest) -> PageOutcome: ...
