"""The checker of the fault tests finds no breach in a clean history, and finds each kind of breach."""

from dataclasses import replace

import pytest

from daemon.demo.history import Event, OriginEvent
from tests.fakes.events import ProxyEvent
from tests.faults.checker import judge
from tests.faults.records import Down, History, HitRow, Rules, TraceRow, Visit
from tests.faults.uses import uses_of

WALL_S = 1.8e9
RULES = Rules(cooldown_s=60, deadline_s=10)
TRACKING = "http://track.example/c/0/2/0/0"


def chain(cid: int, at_s: float, address: str = "127.3.0.1", hops: int = 3) -> list[Event]:
    """A chain whose requests take 0.1 s each, as origin and proxy saw it; it lands with the third."""
    return [proxied_hop(cid, cid, at_s + hop / 10, address) for hop in range(hops)] + [
        OriginEvent(
            wall_s=WALL_S + at_s + hop / 10,
            began_s=at_s + hop / 10,
            ended_s=at_s + hop / 10 + 0.1,
            address=address,
            cid=cid,
            hop=hop,
            hops=2,
            path=f"/c/0/2/0/{hop}?cid={cid}",
            status=200 if hop == 2 else 302,
            bytes_out=60,
        )
        for hop in range(hops)
    ]


def proxied_hop(
    connection: int, cid: int | None, at_s: float, address: str = "127.3.0.1", *, answered: bool = True
) -> Event:
    """One request of 0.1 s."""
    answered_s, status = (at_s + 0.1, 302) if answered else (None, 0)
    return ProxyEvent(WALL_S + at_s, at_s, at_s + 0.1, address, cid, connection, "/", status, 0, 0, answered_s)


def landing(cid: int, number: int) -> str:
    return f"http://track.example/c/0/2/0/2?cid={cid}&gclid=g{number}"


def visit(number: int, at_s: float, cid: int | None) -> Visit:
    location = f"{TRACKING}?gclid=g{number}" if cid is None else landing(cid, number)
    return Visit(number, "quick", at_s, at_s + 0.4, 302, f"r{number}", location)


def hit(number: int, cid: int | None) -> HitRow:
    of = visit(number, 0, cid)
    return HitRow(f"r{number}", "fallback" if cid is None else "resolved", None, of.location or "")


def row(number: int, at_s: float, cid: int | None, address: str = "127.3.0.1", status: str = "completed") -> TraceRow:
    url = None if cid is None else f"http://track.example/c/0/2/0/2?cid={cid}"
    return TraceRow(f"r{number}", status, address, WALL_S + at_s, WALL_S + at_s, url, (TRACKING, url) if url else ())


def two_clicks(second_s: float = 100.0, second: str = "127.3.0.2") -> History:
    """Click 1 by chain 11 at 0 s, click 2 by chain 12."""
    return History(
        events=[*chain(11, 0.05), *chain(12, second_s + 0.05, second)],
        visits=[visit(1, 0, 11), visit(2, second_s, 12)],
        downs=[],
        hits=[hit(1, 11), hit(2, 12)],
        traces=[row(1, 0, 11), row(2, second_s, 12, second)],
    )


def kinds(history: History, rules: Rules = RULES) -> set[str]:
    return {breach.kind for breach in judge(history, rules)}


def killed(at_s: float) -> Down:
    return Down(at_s, at_s + 0.01, at_s + 2, WALL_S + at_s, killed=True)


def test_a_clean_history_has_no_breach() -> None:
    assert judge(two_clicks(), replace(RULES, all_resolved=True)) == []


def test_one_ip_twice_with_its_cooldown_between_is_clean() -> None:
    assert kinds(two_clicks(100, "127.3.0.1")) == set()


def test_two_traces_by_one_ip_at_once_are_named() -> None:
    assert kinds(two_clicks(0.1, "127.3.0.1")) == {"overlap"}


def test_a_trace_inside_the_cooldown_is_named() -> None:
    assert kinds(two_clicks(50, "127.3.0.1")) == {"cooldown"}


def test_an_answered_click_without_a_hit_is_named() -> None:
    history = two_clicks()
    assert kinds(replace(history, hits=history.hits[:1])) == {"no hit"}


def test_a_missing_hit_is_not_excused_by_a_kill() -> None:
    history = two_clicks()
    assert kinds(replace(history, hits=history.hits[:1], downs=[killed(100.5)])) == {"no hit"}


def test_a_hit_that_was_late_may_be_lost_in_a_kill_and_only_there() -> None:
    history, rules = two_clicks(), replace(RULES, late_hits=frozenset({"r2"}))
    lost = replace(history, hits=history.hits[:1])
    assert kinds(replace(lost, downs=[killed(100.5)]), rules) == set()
    assert kinds(replace(lost, downs=[killed(110)]), rules) == {"no hit"}


def test_a_click_with_two_hits_is_named() -> None:
    history = two_clicks()
    double = HitRow("r9", "resolved", None, history.hits[0].location)
    assert "twice" in kinds(replace(history, hits=[*history.hits, double]))


def test_a_hit_of_a_click_that_nobody_sent_is_named() -> None:
    history = two_clicks()
    assert kinds(replace(history, hits=[*history.hits, hit(7, None)])) == {"unknown click"}


def test_a_hit_that_says_something_else_than_the_answer_is_named() -> None:
    history = two_clicks()
    other = replace(history.hits[1], location=f"{TRACKING}?gclid=g2", outcome="fallback")
    assert kinds(replace(history, hits=[history.hits[0], other])) == {"differs"}


def test_a_hit_with_the_wrong_outcome_is_named() -> None:
    history = two_clicks()
    wrong = replace(history.hits[1], outcome="fallback", reason="deadline")
    assert kinds(replace(history, hits=[history.hits[0], wrong])) == {"differs"}


@pytest.mark.parametrize(
    ("failed", "status"), [("refused", None), ("cut", None), ("unanswered", None), (None, 503), (None, 500)]
)
def test_a_click_without_a_redirect_is_named_while_the_daemon_was_up(failed: str | None, status: int | None) -> None:
    unanswered = Visit(3, "quick", 50, 50.1, status, failure=failed)  # type: ignore[arg-type]
    history = two_clicks()
    visits = [*history.visits, unanswered]
    assert kinds(replace(history, visits=visits)) == {"unanswered"}
    assert kinds(replace(history, visits=visits, downs=[killed(40)])) == {"unanswered"}


def test_a_closed_door_and_a_cut_are_excused_by_a_kill() -> None:
    history, down = two_clicks(), killed(50)
    cut = Visit(3, "quick", 49.9, 50.005, failure="cut")
    refused = Visit(4, "quick", 51, 51, failure="refused")
    starting = Visit(5, "quick", 51, 51.1, status=503)
    assert kinds(replace(history, visits=[*history.visits, cut, refused, starting], downs=[down])) == set()


def test_a_stop_cuts_nobody() -> None:
    history, down = two_clicks(), replace(killed(50), killed=False)
    refused = Visit(4, "quick", 51, 51, failure="refused")
    assert kinds(replace(history, visits=[*history.visits, refused], downs=[down])) == set()
    cut = Visit(3, "quick", 49.9, 50.005, failure="cut")
    assert kinds(replace(history, visits=[*history.visits, cut], downs=[down])) == {"unanswered"}


def test_a_click_that_is_cut_while_the_next_daemon_serves_or_starts_is_named() -> None:
    history = two_clicks()
    cut = Visit(3, "quick", 50.5, 51, failure="cut")
    assert kinds(replace(history, visits=[*history.visits, cut], downs=[killed(50)])) == {"unanswered"}


def test_an_answer_past_the_deadline_is_named() -> None:
    history = two_clicks()
    late = replace(history.visits[1], ended_s=111.5)
    assert kinds(replace(history, visits=[history.visits[0], late])) == {"late"}


ALL_RESOLVED = replace(RULES, all_resolved=True, addresses=["127.3.0.1", "127.3.0.2"], chain_s=0.3)


def with_fallback(at_s: float, reason: str, history: History) -> History:
    fallback = replace(hit(3, None), reason=reason)
    return replace(history, visits=[*history.visits, visit(3, at_s, None)], hits=[*history.hits, fallback])


def test_a_fallback_is_named_where_none_may_be() -> None:
    assert kinds(with_fallback(50, "trace_failed", two_clicks())) == set()
    assert kinds(with_fallback(50, "trace_failed", two_clicks()), ALL_RESOLVED) == {"differs"}


def test_a_fallback_for_want_of_an_ip_is_named_if_an_ip_was_idle() -> None:
    both_busy = two_clicks(1.0)
    assert kinds(with_fallback(50, "no_ip", both_busy), ALL_RESOLVED) == set()
    assert kinds(with_fallback(50, "no_ip", two_clicks()), ALL_RESOLVED) == {"differs"}
    assert kinds(with_fallback(250, "no_ip", both_busy), ALL_RESOLVED) == {"differs"}


@pytest.mark.parametrize(("leased_s", "found"), [(50.0, {"differs"}), (59.9, set())])
def test_a_fallback_at_the_deadline_is_named_if_its_trace_had_its_ip_in_time(leased_s: float, found: set[str]) -> None:
    history = with_fallback(50, "deadline", two_clicks())
    trace = replace(row(3, 50, None, "127.3.0.3"), leased_s=WALL_S + leased_s)
    assert kinds(replace(history, traces=[*history.traces, trace]), ALL_RESOLVED) == found


def test_an_answer_with_a_chain_that_the_origin_never_served_is_named() -> None:
    history = two_clicks()
    assert "invented" in kinds(replace(history, events=chain(11, 0.05)))


def test_an_answer_with_a_chain_of_another_time_is_named() -> None:
    history = two_clicks()
    early = [*chain(11, 0.05), *chain(12, 20, "127.3.0.2")]
    assert "invented" in kinds(replace(history, events=early))


def test_two_visitors_who_were_told_of_one_chain_are_named() -> None:
    history = two_clicks()
    third = replace(visit(3, 0, 11), location=landing(11, 3))
    with_third = replace(history, visits=[*history.visits, third], hits=[*history.hits, hit(3, 11)])
    assert "shared" in kinds(replace(with_third, traces=[*history.traces, row(3, 0, 11)]))


def test_an_answer_with_the_chain_of_another_click_is_named() -> None:
    history = two_clicks()
    swapped = [replace(history.traces[0], final_url="http://track.example/c/0/2/0/2?cid=12", urls=())]
    assert "foreign" in kinds(replace(history, traces=[*swapped, history.traces[1]]))


def test_an_answer_by_another_ip_than_its_trace_has_is_named() -> None:
    history = two_clicks()
    moved = replace(history.traces[1], address="127.3.0.9")
    assert kinds(replace(history, traces=[history.traces[0], moved])) == {"foreign"}


def test_an_answer_without_the_visitors_own_parameters_is_named() -> None:
    history = two_clicks()
    stranger = replace(history.visits[1], location=landing(12, 1))
    assert "foreign" in kinds(replace(history, visits=[history.visits[0], stranger]))


def test_a_resolved_click_whose_trace_has_not_ended_is_named_even_after_a_kill() -> None:
    history = replace(two_clicks(), downs=[killed(100.5)])
    processing = replace(history.traces[1], status="processing", final_url=None, urls=())
    assert kinds(replace(history, traces=[history.traces[0], processing])) == {"unfinished"}


def test_a_late_hit_and_the_end_of_its_trace_may_be_lost_to_a_kill_that_comes_at_once() -> None:
    processing = replace(two_clicks().traces[1], status="processing", final_url=None, urls=())
    history = replace(two_clicks(), traces=[two_clicks().traces[0], processing])
    ended_s = history.visits[1].ended_s
    late = replace(RULES, late_hits=frozenset({"r2"}))
    assert kinds(replace(history, downs=[killed(ended_s + 0.5)]), late) == set()
    assert "unfinished" in kinds(replace(history, downs=[killed(ended_s + 5)]), late)


def test_a_landed_chain_without_a_row_is_named() -> None:
    history = two_clicks()
    assert "no trace" in kinds(replace(history, events=[*history.events, *chain(13, 200, "127.3.0.3")]))


def test_a_chain_that_began_and_has_no_row_is_named() -> None:
    history = two_clicks()
    begun = [*history.events, *chain(13, 200, "127.3.0.3", hops=1)]
    assert kinds(replace(history, events=begun)) == {"no trace"}
    leased = row(3, 200, None, "127.3.0.3", status="failed")
    assert kinds(replace(history, events=begun, traces=[*history.traces, leased])) == set()


def test_a_chain_that_a_kill_ended_needs_no_row() -> None:
    history = two_clicks()
    begun = [*history.events, *chain(13, 200, "127.3.0.3")]
    assert kinds(replace(history, events=begun, downs=[killed(200.4)])) == set()


def test_a_chain_in_two_rows_is_named() -> None:
    history = two_clicks()
    assert kinds(replace(history, traces=[*history.traces, row(9, 100, 12, "127.3.0.2")])) == {"twice"}


def test_a_row_that_never_ends_is_named_unless_its_daemon_was_killed() -> None:
    history = two_clicks()
    traces = [*history.traces, row(9, 50, None, "127.3.0.9", status="processing")]
    assert kinds(replace(history, traces=traces)) == {"unfinished"}
    assert kinds(replace(history, traces=traces, downs=[killed(40)])) == {"unfinished"}
    assert kinds(replace(history, traces=traces, downs=[killed(60)])) == set()


def test_a_trace_by_a_lease_that_the_disk_refused_is_named() -> None:
    assert kinds(two_clicks(), replace(RULES, unleasable=frozenset({"r2"}))) == {"not durable"}


def test_a_click_at_a_paused_daemon_may_wait_for_it() -> None:
    history = two_clicks()
    late = replace(history.visits[1], ended_s=history.visits[1].sent_s + 30, port=2)
    history = replace(history, visits=[history.visits[0], late])
    pause = Down(99.0, 99.0, 129.0, WALL_S, killed=False, port=2, paused=True)
    assert kinds(history) == {"late"}
    assert kinds(replace(history, downs=[pause])) == set()
    assert kinds(replace(history, downs=[replace(pause, port=1)])) == {"late"}


def test_rows_are_missed_unless_they_ended_while_postgresql_lost_them() -> None:
    history = replace(two_clicks(), hits=[hit(2, 12)], traces=[row(2, 100.0, 12, "127.3.0.2")])
    assert kinds(history) == {"no hit", "no trace", "unfinished"}
    assert kinds(history, replace(RULES, forgotten=((-50.0, 50.0),))) == set()
    assert kinds(history, replace(RULES, forgotten=((50.0, 150.0),))) == {"no hit", "no trace", "unfinished"}


def test_an_offer_may_be_exempt_from_resolving_every_click() -> None:
    history = two_clicks()
    history = replace(history, visits=[history.visits[0], visit(2, 100.0, None)], hits=[hit(1, 11), hit(2, None)])
    assert kinds(history, ALL_RESOLVED) == {"differs"}
    assert kinds(history, replace(ALL_RESOLVED, may_fall_back=frozenset({"quick"}))) == set()


def test_a_rest_is_measured_from_the_answer_to_the_last_request() -> None:
    """The daemon cannot release an IP before that answer: here 0.35 s after the first click."""
    assert kinds(two_clicks(60.25, "127.3.0.1")) == {"cooldown"}
    assert kinds(two_clicks(60.31, "127.3.0.1")) == set()


def test_a_use_without_an_answer_counts() -> None:
    history = two_clicks()
    assert kinds(replace(history, events=[*history.events, proxied_hop(99, None, 30, answered=False)])) == {"cooldown"}


def test_an_unanswered_request_belongs_to_the_trace_of_its_connection() -> None:
    first, last = (proxied_hop(7, None, at_s, answered=False) for at_s in (0.0, 0.4))
    [use] = uses_of([first, proxied_hop(7, 5, 0.2), last])
    assert (use.cid, use.began_s, use.until_s, use.ended_s) == (5, 0.0, 0.4, 0.5)


def test_a_trace_at_two_ips_is_named() -> None:
    history = two_clicks()
    assert "moved" in kinds(replace(history, events=[*history.events, proxied_hop(98, 11, 0.3, "127.3.0.9")]))
