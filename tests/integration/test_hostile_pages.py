"""Pages that attack the engine. `python -m tests.bench engine` runs 1,000 of them beside a daemon's clicks."""

import os

import msgspec
from webencodings.labels import LABELS

from daemon.trace.engine.engines import engines_running
from daemon.trace.engine.records import PageOutcome
from tests.support.hostile_pages import FORGED, SCRIPTS, hostile_page, hostile_pages
from tests.support.processes import engines_of, is_alive

GROWTH_BYTES = 4 << 20


async def test_each_hostile_page_has_an_outcome_and_the_engine_stays_as_it_was() -> None:
    outcomes: dict[str, PageOutcome] = {}
    async with engines_running(1) as engines:
        await engines.run(hostile_page("<script>1</script>"))
        [engine, *_] = engines_of(os.getpid())
        began_bytes = engine.memory_info().rss
        for name, page in hostile_pages():
            outcomes[name] = await engines.run(page)
        assert (
            await engines.run(hostile_page("<script>location = '/next'</script>"))
        ).url == "https://page.example/next"
        assert is_alive(engine), "a page has ended the engine"
        assert engine.memory_info().rss - began_bytes < GROWTH_BYTES
        assert len(engine.children()) <= 1
    assert outcomes.keys() == SCRIPTS.keys()
    assert {name: outcome for name, outcome in outcomes.items() if FORGED in repr(outcome)} == {}
    assert outcomes["an endless loop"] == PageOutcome("unresolved", why="50 ms of CPU")
    assert not is_alive(engine)


async def test_a_page_may_have_any_encoding_although_its_process_opens_no_file() -> None:
    """Python would load a codec from its file when it is used first."""
    form = "<body><form action=/next><input name=a value=&#1103;></form><script>document.forms[0].submit()</script>"
    async with engines_running(1) as engines:
        for encoding in set(LABELS.values()):
            outcome = await engines.run(msgspec.structs.replace(hostile_page(form), encoding=encoding))
            assert outcome.kind == "goes", (encoding, outcome)
