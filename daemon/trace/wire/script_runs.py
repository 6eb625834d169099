"""Runs the scripts of a trace's pages in the engine, also those of a page that has not come whole.

A browser runs a script as soon as it has come. A server may send a page's script and then keep the connection open, so
a page that pauses or drips (http1.py) is run as far as it has come. Only a jump at once ends its reading.
"""

from msgspec.structs import replace

from daemon.host.clocks import read_clocks
from daemon.trace.engine.records import PageEngine, PageOutcome, PageRequest
from daemon.trace.page.body import PageBody
from daemon.trace.walk.hops import HopAnswer
from daemon.trace.walk.steps import Walk


class ScriptRuns:
    """The runs of one trace's pages, one after the other."""

    def __init__(self, engine: PageEngine | None) -> None:
        self._engine = engine
        self._early: tuple[PageRequest, PageOutcome] | None = None  # the last early run that ended a reading

    async def run(self, request: PageRequest) -> PageOutcome:
        """What the page does in the engine, which runs it at the present time. An early run is not repeated."""
        early, self._early = self._early, None
        if early is not None and early[0] == request:
            return early[1]
        if self._engine is None:
            return PageOutcome("unresolved", why="no JavaScript engine runs")
        return await self._engine.run(replace(request, now_ms=read_clocks().wall_s * 1000))

    async def run_early(self, walk: Walk, answer: HopAnswer, body: PageBody, waited_s: float) -> None:
        """Runs the page of `answer` so far, if a script of it is new. Ends its reading if it jumps at once."""
        if self._engine is None or (page := body.early(waited_s)) is None:
            return
        request = walk.early_run(replace(answer, page=page)).request
        outcome = await self.run(request)
        if outcome.kind == "goes" and outcome.delay_s == 0:
            self._early = request, outcome
            body.leave(page)
