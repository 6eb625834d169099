"""Judges a world from outside: by attempts at endpoints, by clicks, and by facts that reach the database.

An attempt is what an endpoint sees: requests of one attempt, from the first one's begin to the last one's end.
"""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass

from daemon.pool.states import Endpoint

LATE_S = 0.5
SAME_S = 0.002
EVENTS_KEPT = 12


@dataclass(frozen=True, slots=True)
class Breach:
    """`kind`: overlap, cooldown, late, fact, stuck, moved, efficiency or foreign. `at_s`: virtual seconds."""

    kind: str
    at_s: float
    what: str
    history: tuple[str, ...] = ()


@dataclass(slots=True)
class _Attempt:
    node: str
    name: str
    from_s: float
    to_s: float
    cooldown_s: float


class Checker:
    """`breaches`, and what was counted: `attempts`, `clicks`, and `outcomes` of clicks by reason."""

    def __init__(self) -> None:
        self.breaches: list[Breach] = []
        self.outcomes: Counter[str] = Counter()
        self.attempts = self.clicks = 0
        self._last: dict[Endpoint, _Attempt] = {}
        self._events: dict[Endpoint, deque[str]] = defaultdict(lambda: deque(maxlen=EVENTS_KEPT))
        self._open: dict[int, tuple[str, float]] = {}  # clicks without an answer: the node, the deadline
        self.durable: set[int] = set()  # facts on a node's disk

    def note(self, endpoint: Endpoint, now_s: float, what: str) -> None:
        """An event to show beside a breach at this endpoint."""
        self._events[endpoint].append(f"{now_s:9.3f}  {what}")

    def breach(self, kind: str, now_s: float, what: str, endpoint: Endpoint | None = None) -> None:
        self.breaches.append(Breach(kind, now_s, what, tuple(self._events[endpoint]) if endpoint else ()))

    def request(self, endpoint: Endpoint, node: str, attempt: str, from_s: float, to_s: float, rest_s: float) -> None:
        """A request through an endpoint, that ends by itself at `to_s`. `rest_s`: the node's cooldown."""
        last = self._last.get(endpoint)
        if last is not None and (last.node, last.name) == (node, attempt):
            last.to_s, last.cooldown_s = max(last.to_s, to_s), rest_s
            return
        self.attempts += 1
        self.note(endpoint, from_s, f"{node} begins attempt {attempt}")
        if last is not None and from_s < last.to_s - SAME_S:
            what = f"{node} begins while {last.node} still uses {endpoint[0]}, until {last.to_s:.3f}"
            self.breach("overlap", from_s, what, endpoint)
        elif last is not None and from_s < last.to_s + last.cooldown_s - SAME_S:
            what = (
                f"{node} begins {from_s - last.to_s:.3f} s after {last.node} used {endpoint[0]}, which rests "
                f"{last.cooldown_s:g} s"
            )
            self.breach("cooldown", from_s, what, endpoint)
        self._last[endpoint] = _Attempt(node, attempt, from_s, to_s, rest_s)

    def killed(self, node: str, now_s: float) -> None:
        """The node's connections are closed, and its clicks get no answer."""
        for last in self._last.values():
            if last.node == node:
                last.to_s = min(last.to_s, now_s)
        self._open = {click: found for click, found in self._open.items() if found[0] != node}

    def restarts_with(self, node: str, cooldown_s: float) -> None:
        """What was leased when the node was killed rests by the shorter one of its two cooldowns, at least."""
        for last in self._last.values():
            if last.node == node:
                last.cooldown_s = min(last.cooldown_s, cooldown_s)

    def stopped(self, node: str) -> None:
        """A stopped process answers nobody: its open clicks are not judged."""
        self._open = {click: found for click, found in self._open.items() if found[0] != node}

    def clicked(self, click: int, node: str, deadline_s: float) -> None:
        self.clicks += 1
        self._open[click] = node, deadline_s

    def answered(self, click: int, now_s: float, outcome: str) -> None:
        self.outcomes[outcome] += 1
        found = self._open.pop(click, None)
        if found is not None and now_s > found[1] + LATE_S:
            self.breach("late", now_s, f"{found[0]} answered click {click} {now_s - found[1]:.3f} s after its deadline")

    def end(self, now_s: float, facts: Counter[int]) -> None:
        """After all spools have been shipped. `facts`: how often each was applied."""
        for click, (node, deadline_s) in self._open.items():
            if now_s > deadline_s + LATE_S:
                self.breach("late", now_s, f"{node} never answered click {click}")
        for fact in sorted(self.durable):
            if facts[fact] != 1:
                self.breach("fact", now_s, f"fact {fact} was applied {facts[fact]} times")
