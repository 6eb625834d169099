"""What the demo promises, and that each promise can be seen to be broken."""

from dataclasses import replace

import msgspec

from daemon.demo.history import OriginEvent
from daemon.demo.showcase import CLICKS, OFFERS, ClickResult, Terms, broken_promises, hops_of

SLOW_URL = "http://track.slow-boat.example/c/3000/5/0/0"
TERMS = Terms({"slow-boat": SLOW_URL}, deadline_s=10, cooldown_s=60)
IPS = ("127.1.0.1", "127.1.0.2", "127.1.0.3", "127.1.0.11", "127.1.0.4")


def seen_of(number: int, ip: str, hops: int) -> list[OriginEvent]:
    """A chain with the click id `number + 1`, a hop each second."""
    return [OriginEvent(0.0, hop, hop + 0.5, ip, number + 1, hop, 9, "/c", 302, 9) for hop in range(hops)]


def kept() -> tuple[list[ClickResult], list[OriginEvent]]:
    results, seen = [], []
    for number, (offer, ip) in enumerate(zip(CLICKS, IPS, strict=True)):
        gclid = f"demo-{number + 1}"
        location = f"http://{offer.landing}/landing?cid={number + 1}&gclid={gclid}"
        result = ClickResult(
            offer.name, offer.country, gclid, ip, offer.redirects + 1, 1_000, "resolved", None, location
        )
        if offer.promise == "deadline":
            result = replace(
                result,
                hops=3,
                wait_ms=9_950,
                outcome="fallback",
                reason="deadline",
                location=f"{SLOW_URL}?gclid={gclid}",
            )
        results.append(result)
        seen += seen_of(number, ip, result.hops)
    return results, seen


def broken_by(number: int, **changes: object) -> list[str]:
    results, seen = kept()
    results[number] = replace(results[number], **changes)  # type: ignore[arg-type]
    return broken_promises(results, seen, TERMS)


def test_five_clicks_as_their_offers_promise_break_nothing() -> None:
    results, seen = kept()
    assert broken_promises(results, seen, TERMS) == []


def test_a_fallback_where_a_landing_was_promised_is_told_with_its_reason() -> None:
    assert broken_by(0, outcome="fallback", reason="no_ip") == [
        "summer-sale (demo-1): it must be resolved, but the outcome is fallback (no_ip)"
    ]


def test_no_answer_at_all_is_told() -> None:
    broken = broken_by(0, outcome=None, reason=None, location=None)
    assert broken == ["summer-sale (demo-1): it must be resolved, but the outcome is no redirect at all"]


def test_a_landing_must_carry_the_click_id_of_its_own_chain_and_the_gclid_once() -> None:
    assert "cid=1" in broken_by(0, location="http://www.shop.example/landing?cid=2&gclid=demo-1")[0]
    assert "gclid" in broken_by(0, location="http://www.shop.example/landing?cid=1&gclid=demo-2")[0]
    assert "gclid" in broken_by(0, location="http://www.shop.example/landing?cid=1&gclid=demo-1&gclid=demo-1")[0]
    assert "www.shop.example" in broken_by(0, location="http://www.tea.example/landing?cid=1&gclid=demo-1")[0]


def test_a_chain_has_as_many_hops_as_its_offer_says() -> None:
    assert broken_by(3, hops=5) == ["tea-time (demo-4): its chain has 4 hops, but the ad network saw 5"]


def test_an_ip_of_another_country_breaks_a_promise() -> None:
    results, _ = kept()
    results[3] = replace(results[3], ip="127.1.0.9")
    seen = [event for number, result in enumerate(results) for event in seen_of(number, str(result.ip), result.hops)]
    assert broken_promises(results, seen, TERMS) == ["tea-time (demo-4): its IP must be one of uk, but is 127.1.0.9"]


def test_an_ip_that_serves_two_clicks_breaks_a_promise() -> None:
    results, seen = kept()
    results[1] = replace(results[1], ip=results[0].ip)
    broken = broken_promises(results, seen, TERMS)
    assert "127.1.0.1 served more than one of the clicks" in broken


def test_two_traces_that_the_network_saw_at_one_ip_break_a_promise() -> None:
    results, seen = kept()
    broken = broken_promises(
        results, [*seen, msgspec.structs.replace(seen[0], cid=77, began_s=20.0, ended_s=20.5, hop=1)], TERMS
    )
    assert len(broken) == 1
    assert "127.1.0.1: trace 77 began" in broken[0]


def test_a_slow_offer_is_answered_at_the_deadline_by_its_own_tracking_url() -> None:
    assert "at the deadline" in broken_by(4, wait_ms=11_500)[0]
    assert "at the deadline" in broken_by(4, wait_ms=5_000)[0]
    assert "must go to" in broken_by(4, location=SLOW_URL)[0]
    assert "resolved" in broken_by(4, outcome="resolved", reason=None)[0]


def test_hops_are_those_that_the_network_answered_before_the_visitor_was() -> None:
    seen = seen_of(0, "127.1.0.1", 5) + seen_of(1, "127.1.0.2", 5)
    assert [event.hop for event in hops_of(seen, "127.1.0.1", 1.0, 3.5)] == [1, 2, 3]


def test_each_offer_has_a_click_and_a_country_of_the_pool() -> None:
    assert {offer.name for offer in CLICKS} == {offer.name for offer in OFFERS}
