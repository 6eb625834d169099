"""Divides the countries' IPs among the nodes: asks nodes/balance.py for this node's gifts, and sends them to the pools.

Each second, after each renewal, and as soon as a request waits for an IP, because another node may have idle ones. The
pools learn what the other nodes have. A country that only other nodes have gets an empty pool, where clicks wait for a
gift. While this node is the only one, it does nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

import structlog
import trio

from daemon.nodes.balance import SETTLED_S, Gift, gifts
from daemon.nodes.exchange import Exchange
from daemon.nodes.figures import NO_COUNTRY_FIGURES, CountryFigures
from daemon.nodes.member import Member
from daemon.nodes.others import NO_OTHERS, OtherNodes, Others, is_short
from daemon.nodes.peers import Peer, Peers
from daemon.pool.directory import PoolDirectory, PoolHandle
from daemon.pool.messages import NOTHING_ELSEWHERE, Give, Message, SetElsewhere

EACH_S = 1.0
PAUSE_S = 0.2
SILENT_S = 4.0  # a node that has not renewed for so long gets nothing
PLAN_EACH_S = 5.0  # for a country where no request waits
TELL_EACH_S = 5.0  # what other nodes have, while nothing depends on it
HANDLED_S = 3.0  # a pool that has not handled its gifts by then may have crashed
TRACE_S = 3.0  # about how long a trace keeps an IP

log = structlog.get_logger("daemon.nodes")


@dataclass(eq=False)
class _Country:
    """`gives`: messages sent to the pool; `orders`: receivers of the last ones. `told`: the pool's SetElsewhere."""

    exchange: Exchange
    planned_s: float = float("-inf")
    gives: int = 0
    gave_s: float = float("-inf")
    orders: frozenset[UUID] = frozenset()
    told: SetElsewhere = NOTHING_ELSEWHERE
    told_s: float = float("-inf")


@dataclass(eq=False, repr=False)
class Balancer:
    """`_cooldown_s()`: this node's pool.cooldown_s. `_now_s` reads the monotonic clock."""

    _member: Member
    _directory: PoolDirectory
    _cooldown_s: Callable[[], float]
    _now_s: Callable[[], float] = trio.current_time
    _by_name: dict[str, _Country] = field(default_factory=dict, init=False)
    _began_s: float = field(init=False)
    _woken: trio.Event = field(default_factory=trio.Event, init=False)
    _had_others: bool = field(default=False, init=False)
    _others: OtherNodes = field(default_factory=OtherNodes, init=False)
    _peers: Peers = field(init=False)  # that `_others` is of

    def __post_init__(self) -> None:
        self._peers = Peers(self._member.peers.me, float("-inf"))
        self._began_s = self._now_s()

    def countries(self) -> dict[str, CountryFigures]:
        """This node's present figures, for its row in `nodes`."""
        found, now_s = {}, self._now_s()
        for handle in self._directory:
            if handle.view.counts.total or handle.view.asked or handle.turned_away:
                found[handle.country] = self._country(handle.country).exchange.figures(handle.view, now_s)
        return found

    def pools_s(self) -> float:
        """Since the pools were loaded."""
        return round(self._now_s() - self._began_s, 1)

    def wake(self, _peers: Peers | None = None) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken = trio.Event()
            self.step(self._now_s())
            await trio.sleep(PAUSE_S)
            with trio.move_on_after(EACH_S):
                await self._woken.wait()

    def step(self, now_s: float) -> None:
        """One round over all countries."""
        peers = self._member.peers
        if peers is not self._peers:
            self._others.read(peer for peer in peers.others() if _takes_part(peer))
            self._peers = peers
        is_current = now_s - peers.read_s < SILENT_S
        if not self._others.ids or not is_current:
            self._note_alone(now_s)
            return
        self._had_others = True
        for country in self._others.countries():
            if self._directory.known(country) is None:
                self._directory.open(country, (), self._member.term)
        is_hurried = False
        for handle in self._directory:
            mine, others, view = self._country(handle.country), self._others.of(handle.country), handle.view
            mine.exchange.note(view, handle.turned_away, others, now_s)
            own = mine.exchange.figures(view, now_s)
            self._tell(handle, mine, mine.exchange.elsewhere(peers.me, own, others, now_s), now_s)
            self._give(handle, view.gives, mine, own, others, now_s)
            is_hurried = is_hurried or bool(is_short(own) and others.idle)
        if is_hurried:
            self._member.hurry(others=True)

    def _country(self, name: str) -> _Country:
        found = self._by_name.get(name)
        if found is None:
            before = self._member.before.countries.get(name, NO_COUNTRY_FIGURES)
            found = self._by_name[name] = _Country(Exchange(self._now_s(), before))
        return found

    def _note_alone(self, now_s: float) -> None:
        """No other node takes part, or PostgreSQL does not answer: the demand is still measured."""
        for handle in self._directory:
            mine = self._country(handle.country)
            mine.exchange.note(handle.view, handle.turned_away, NO_OTHERS, now_s)
            if self._had_others and mine.told != NOTHING_ELSEWHERE:
                elsewhere = NOTHING_ELSEWHERE if not any(self._member.peers.others()) else _without_hope(mine.told)
                self._tell(handle, mine, elsewhere, now_s)

    def _tell(self, handle: PoolHandle, mine: _Country, elsewhere: SetElsewhere, now_s: float) -> None:
        """Sends what the other nodes have, if it differs; while IPs are coming, again each second."""
        told, passed_s = mine.told, now_s - mine.told_s
        matters = (elsewhere.coming, elsewhere.counts.total, elsewhere.broken)
        is_new = matters != (told.coming, told.counts.total, told.broken)
        is_due = elsewhere.coming > 0 and passed_s >= EACH_S
        is_due = is_new or is_due or (elsewhere != told and passed_s >= TELL_EACH_S)
        if is_due and _put(handle, elsewhere):
            mine.told, mine.told_s = elsewhere, now_s

    def _give(
        self, handle: PoolHandle, handled: int, mine: _Country, own: CountryFigures, others: Others, now_s: float
    ) -> None:
        """`handled`: Give messages by the pool."""
        peers = self._peers
        me = peers.me
        drains = me in peers.by_id and peers.by_id[me].draining
        is_urgent = drains or bool(mine.orders) or others.are_short or is_short(own)
        if not is_urgent and now_s < mine.planned_s + PLAN_EACH_S:
            return
        if handled != mine.gives and now_s < mine.gave_s + HANDLED_S:
            return
        mine.planned_s, mine.gives = now_s, handled
        by_id = peers.by_id
        made = gifts(
            handle.country,
            me,
            {node: others.of(node) for node in others.ids} | {me: own},
            mine.exchange.given,
            now_s,
            draining=frozenset(node for node, peer in by_id.items() if peer.draining),
            settled={node for node in self._others.ids if by_id[node].figures.pools_s >= SETTLED_S} | {me},
            cycle_s=self._cooldown_s() + TRACE_S,
        )
        for to in mine.orders - {gift.to for gift in made}:
            made.append(Gift(handle.country, to, 0))
        for gift in made:
            if _put(handle, Give(gift.to, gift.count, gift.later, gift.failed)):
                mine.gives, mine.gave_s = mine.gives + 1, now_s
        mine.orders = frozenset(gift.to for gift in made if gift.later)


def _takes_part(peer: Peer) -> bool:
    """Whether the node runs, and has loaded its pools."""
    return peer.figures.pools_s > 0 and peer.seen_s_ago < SILENT_S


def _without_hope(told: SetElsewhere) -> SetElsewhere:
    return SetElsewhere(0, told.counts, told.broken)


def _put(handle: PoolHandle, message: Message) -> bool:
    """False if the mailbox is full, or the daemon stops: it is sent again later."""
    try:
        handle.mailbox.send_nowait(message)
    except (trio.WouldBlock, trio.ClosedResourceError):
        return False
    return True
