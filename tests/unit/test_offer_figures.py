"""The rows of offers: what hurts first, states, times, and how often hits are counted."""

from datetime import UTC, datetime, timedelta

import pytest
import trio

from daemon.control.offer_figures import Counted, FigureCache, OfferRow, by_harm, rows_of, window_of_span
from daemon.control.report_groups import Figures, Window
from daemon.errors import DatabaseBusy
from daemon.pool.messages import Counts

NOW = datetime(2026, 3, 4, 13, 30, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(hours=1), NOW, NOW)


def row(name: str, clicks: int = 0, lost: int = 0, state: str = "active", ips: int = 5) -> OfferRow:
    figures = Figures(clicks, clicks - lost, {"no_ip": lost} if lost else {})
    without = () if ips else ("us",)
    return OfferRow(name, state, figures, ips=ips, without_ips=without)  # type: ignore[arg-type]


def test_what_hurts_comes_first() -> None:
    expected = [
        row("bad", state="broken"),
        row("dry", 7, ips=0),
        row("half", 200, 100),
        row("misspelt", 40, 40, "unknown", 0),
        row("large", 10_000, 120),
        row("calm", 90),
        row("idle"),
        row("off", state="paused", ips=0),
    ]
    assert [one.name for one in by_harm(reversed(expected))] == [one.name for one in expected]


def test_each_offer_and_each_other_name_has_a_row() -> None:
    figures = {"sale": Figures(3, 2, {"no_ip": 1}), "slae": Figures(1, 0, {"unknown_offer": 1}), "gone": Figures(2, 2)}
    counted = Counted(WINDOW, figures, frozenset({"gone"}), {"sale": 0.5}, 0)
    offers = [
        {
            "id": 1,
            "offer_name": "sale",
            "target_country": " GB ",
            "is_active": True,
            "paused_to": None,
            "countries": None,
        },
        {
            "id": 2,
            "offer_name": "rest",
            "target_country": "fr",
            "is_active": False,
            "paused_to": "sale",
            "countries": ["gb", "fr"],
        },
        {
            "id": 3,
            "offer_name": "torn",
            "target_country": "us",
            "is_active": True,
            "paused_to": None,
            "countries": None,
        },
    ]
    ips = {"uk": Counts(9, 4, 3, 1, 1, 0)}
    rows = {one.name: one for one in rows_of(counted, offers, lambda offer: offer["offer_name"] == "torn", ips)}
    assert {name: one.state for name, one in rows.items()} == {
        "sale": "active", "rest": "paused", "torn": "broken", "slae": "unknown", "gone": "removed",
    }  # fmt: skip
    assert (rows["sale"].countries, rows["sale"].ips, rows["sale"].ips_available) == (("uk",), 9, 4)
    assert [rows[name].cost for name in ("sale", "rest", "slae")] == [0.5, 0.0, 0.0]
    assert (rows["rest"].countries, rows["rest"].without_ips) == (("fr", "uk"), ("fr",))
    assert (rows["rest"].figures, rows["rest"].paused_to) == (Figures(), "sale")


@pytest.mark.parametrize(
    ("span", "since", "until"),
    [
        ("15m", NOW - timedelta(minutes=15), NOW),
        ("24h", NOW - timedelta(days=1), NOW),
        ("today", datetime(2026, 3, 4, tzinfo=UTC), NOW),
        ("yesterday", datetime(2026, 3, 3, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC)),
        ("7d", datetime(2026, 2, 26, tzinfo=UTC), NOW),
        ("30d", datetime(2026, 2, 3, tzinfo=UTC), NOW),
    ],
)
def test_a_span_has_days_of_utc(span: str, since: datetime, until: datetime) -> None:
    window = window_of_span(span, NOW)  # type: ignore[arg-type]
    assert (window.since, window.until) == (since, until)
    assert window.is_of_days == (span in ("today", "yesterday", "7d", "30d"))


async def test_hits_are_counted_the_less_often_the_longer_it_takes() -> None:
    times: list[float] = []
    now_s, takes_s, fails = 0.0, 2.0, False

    async def work() -> Counted:
        nonlocal now_s
        times.append(now_s)
        now_s += takes_s
        await trio.lowlevel.checkpoint()
        if fails:
            raise DatabaseBusy("too many")
        return Counted(WINDOW, {}, frozenset(), None, 0)

    cache = FigureCache(lambda: now_s)
    async with trio.open_nursery() as pages:
        for _ in range(10):
            pages.start_soon(cache.counted, "30d", work)
    assert times == [0.0], "many pages, one scan"
    now_s = 41.9
    await cache.counted("30d", work)
    assert times == [0.0]
    now_s, fails = 42.0, True
    for _ in range(2):
        with pytest.raises(DatabaseBusy):
            await cache.counted("30d", work)
    assert times == [0.0, 42.0], "a scan that fails is not tried again at once"
    fails = False
    await cache.counted("1h", work)
    assert len(times) == 3, "another time is counted by itself"
