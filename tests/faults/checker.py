"""Finds breaches of tracepool's promises in the history of a fault test. Pure. It does not read the daemon's log.

Two kinds of trace are exempt: those that a kill ended, and those whose click was not answered when a kill came.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

from daemon.demo.history import Event, OriginEvent
from tests.faults.records import Breach, Down, History, HitRow, Intervals, Rules, TraceRow, Visit, cid_of
from tests.faults.uses import broken_rests, idle_times, uses_of

UNWRITTEN_S = 1.0
"""A trace without an answered click may be missing if it ended this close to a kill."""
CLOCKS_APART_S = 0.25
"""Largest difference between a row's time and the network's time of the same moment."""


def judge(history: History, rules: Rules) -> list[Breach]:
    """Return all breaches."""
    uses = uses_of(history.events)
    rest_s = 2 * rules.cooldown_s + rules.late_s  # twice: a lease that is given back unused is followed by a cooldown
    return [
        *broken_rests(uses, rules.cooldown_s),
        *_answers(history, rules, idle_times(uses, rules.addresses, rest_s)),
        *_resolutions(history, rules),
        *_rows_of_nobody(history),
        *_missing_hits(history, rules),
        *_missing_traces(history, rules),
    ]


def _answers(history: History, rules: Rules, idle: Intervals) -> Iterator[Breach]:
    """Every click gets its redirect by the deadline, unless its daemon was down or paused."""
    hits = {hit.request_id: hit for hit in history.hits}
    traces = {row.request_id: row for row in history.traces}
    for visit in history.visits:
        name = f"click {visit.number} at {visit.sent_s:.3f}"
        if visit.answered:
            waited_s = visit.ended_s - visit.sent_s
            if waited_s > rules.deadline_s + rules.late_s and not any(_paused(visit, down) for down in history.downs):
                yield Breach("late", f"{name} waited {waited_s:.3f} s for its answer")
            if rules.all_resolved and visit.offer not in rules.may_fall_back and cid_of(visit.location) is None:
                hit, row = hits.get(visit.request_id or ""), traces.get(visit.request_id or "")
                if hit is not None and not _for_want_of_an_ip(visit, hit, row, rules, idle):
                    yield Breach("differs", f"{name} fell back to {visit.location}: {hit.reason}")
        elif not _excused(visit, history.downs):
            yield Breach("unanswered", f"{name}: {visit.failure or f'status {visit.status}'} at {visit.ended_s:.3f}")


def _for_want_of_an_ip(visit: Visit, hit: HitRow, row: TraceRow | None, rules: Rules, idle: Intervals) -> bool:
    """Whether all IPs were busy while a click waited, or its trace got one too late for its chain."""
    if hit.reason == "no_ip":
        return not any(from_s <= visit.sent_s and visit.ended_s <= to_s for from_s, to_s in idle)
    if hit.reason == "deadline" and row is not None and row.leased_s is not None:
        return row.leased_s - row.started_s > rules.deadline_s - rules.chain_s - rules.late_s
    return False


def _excused(visit: Visit, downs: Sequence[Down]) -> bool:
    """Whether a click was refused while the daemon was down, cut off by a kill, or sent before the daemon was ready."""
    for down in downs:
        if not _meets(visit, down):
            continue
        if down.paused:
            return True
        if visit.failure == "refused" or (visit.status == 503 and visit.ended_s >= down.gone_s):
            return True
        if visit.failure == "cut" and down.killed and visit.sent_s <= down.gone_s:
            return True
    return False


def _meets(visit: Visit, down: Down) -> bool:
    return visit.port == down.port and visit.sent_s <= down.ended_s and visit.ended_s >= down.began_s


def _paused(visit: Visit, down: Down) -> bool:
    return down.paused and _meets(visit, down)


def _resolutions(history: History, rules: Rules) -> Iterator[Breach]:
    """A resolved click was sent to the landing URL of the chain that was walked for this click."""
    by_request = {row.request_id: row for row in history.traces}
    landings = {event.cid: event for event in history.events if isinstance(event, OriginEvent) and _landed(event)}
    visitors_of: dict[int, list[int]] = defaultdict(list)
    for visit in history.visits:
        cid = cid_of(visit.location) if visit.answered else None
        if cid is None:
            continue
        name = f"click {visit.number}"
        visitors_of[cid].append(visit.number)
        if parse_qs(urlsplit(visit.location or "").query).get("gclid") != [f"g{visit.number}"]:
            yield Breach("foreign", f"{name} was sent to {visit.location}, which lacks its own parameters")
        landing = landings.get(cid)
        if landing is None or landing.ended_s > visit.ended_s or landing.began_s < visit.sent_s:
            yield Breach("invented", f"{name} was answered with chain {cid}, which the origin did not serve meanwhile")
        if visit.request_id in rules.unleasable:
            yield Breach("not durable", f"{name} was traced by a lease that the disk had refused")
        row = by_request.get(visit.request_id or "")
        if row is None or row.status != "completed":
            forgotten = row is None and rules.were_forgotten(visit.ended_s)
            if not forgotten and not _unpromised(visit, history, rules):
                yield Breach("unfinished", f"{name} was resolved; its trace is {row.status if row else 'not there'}")
        elif row.cids != {cid} or not (landing is None or row.address == landing.address):
            yield Breach("foreign", f"{name} was answered with chain {cid}; its trace has {row.cids} by {row.address}")
    for cid, numbers in visitors_of.items():
        if len(numbers) > 1:
            yield Breach("shared", f"clicks {numbers} were all answered with chain {cid}")


def _rows_of_nobody(history: History) -> Iterator[Breach]:
    """Every hit belongs to one click that was sent, and has the location of the visitor's answer."""
    known = {visit.number: visit for visit in history.visits}
    hits_of: Counter[int] = Counter()
    for hit in history.hits:
        gclid = parse_qs(urlsplit(hit.location).query).get("gclid", [""])[0]
        visit = known.get(int(gclid[1:])) if gclid[1:].isdigit() else None
        if visit is None:
            yield Breach("unknown click", f"hit {hit.request_id} to {hit.location}")
            continue
        hits_of[visit.number] += 1
        if visit.answered and (hit.request_id, hit.location) != (visit.request_id, visit.location):
            yield Breach("differs", f"click {visit.number} got {visit.location}, its hit says {hit.location}")
        if (hit.outcome == "resolved") != (cid_of(hit.location) is not None):
            yield Breach("differs", f"hit {hit.request_id} is {hit.outcome} and went to {hit.location}")
    for number, count in hits_of.items():
        if count > 1:
            yield Breach("twice", f"click {number} has {count} hits")


def _missing_hits(history: History, rules: Rules) -> Iterator[Breach]:
    hits = {hit.request_id for hit in history.hits}
    for visit in history.visits:
        if not visit.answered or visit.request_id in hits or rules.were_forgotten(visit.ended_s):
            continue
        if not _unpromised(visit, history, rules):
            yield Breach("no hit", f"click {visit.number}, answered at {visit.ended_s:.3f}, request {visit.request_id}")


def _unpromised(visit: Visit, history: History, rules: Rules) -> bool:
    """Whether a kill came after the answer and before its hit, and so its trace's end, was durable."""
    return visit.request_id in rules.late_hits and _near_a_kill(visit.ended_s, history.downs)


def _missing_traces(history: History, rules: Rules) -> Iterator[Breach]:
    """Each chain that the origin served is in one row of a trace; each trace ends, unless its daemon was killed."""
    kills_s = [down.wall_s for down in history.downs if down.killed]
    rows_of: dict[int, list[TraceRow]] = defaultdict(list)
    leases: dict[str, list[float]] = defaultdict(list)
    for row in history.traces:
        for cid in row.cids:
            rows_of[cid].append(row)
        if row.address and row.leased_s is not None:
            leases[row.address] += [row.leased_s - shift_s for shift_s in rules.clock_shifts_s]
        if row.status in ("pending", "processing") and not any(kill_s >= row.started_s for kill_s in kills_s):
            yield Breach("unfinished", f"trace {row.request_id} is {row.status} for ever")
    for cid, began, ended_s, landed in _chains(history.events):
        rows = rows_of.get(cid, [])
        unwritten = _near_a_kill(ended_s, history.downs) or rules.were_forgotten(ended_s)
        if len(rows) > 1:
            yield Breach("twice", f"chain {cid} is in {len(rows)} traces")
        elif landed and not rows and not unwritten:
            yield Breach("no trace", f"chain {cid} by {began.address} landed at {ended_s:.3f} and has no row")
        elif not rows and not unwritten and not _leased(leases[began.address], began.wall_s):
            yield Breach("no trace", f"chain {cid} by {began.address} began at {began.began_s:.3f} and has no row")


def _near_a_kill(at_s: float, downs: Sequence[Down]) -> bool:
    return any(down.killed and -UNWRITTEN_S < down.began_s - at_s < UNWRITTEN_S for down in downs)


def _leased(leases_s: Sequence[float], wall_s: float) -> bool:
    return any(0 <= wall_s - leased_s + CLOCKS_APART_S < UNWRITTEN_S for leased_s in leases_s)


def _chains(events: Sequence[Event]) -> Iterator[tuple[int, OriginEvent, float, bool]]:
    """(cid, its first request, the end of its last, whether it landed) of each chain at the origin."""
    requests: dict[int, list[OriginEvent]] = defaultdict(list)
    for event in events:
        if isinstance(event, OriginEvent) and event.cid is not None:
            requests[event.cid].append(event)
    for cid, found in requests.items():
        first = min(found, key=lambda event: event.began_s)
        yield cid, first, max(event.ended_s for event in found), any(map(_landed, found))


def _landed(event: OriginEvent) -> bool:
    return event.cid is not None and event.hop == event.hops and event.status == 200
