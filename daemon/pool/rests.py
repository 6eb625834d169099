"""When each endpoint may be used again: one table for all pools, because rows change their endpoint and country. Pure.

An endpoint rests while a trace has it and during the cooldown after that. If its row is deleted, edited to another
endpoint or moved to another country meanwhile, the endpoint has departed, and its rest goes on. A row that comes with
an endpoint that another row used, or still uses, rests until that rest ends.

At a start the table comes from the spool, which survives a crash. Its entries of the same boot are read by the boot
clock, older ones by the wall clock, which may have been set since. No rest is believed that ends later than
`lock_s + cooldown_s` from now: it is cut, and counted.
"""

import math
from collections.abc import Iterable
from uuid import UUID

import msgspec

from daemon.clock import Moment
from daemon.errors import BadInput
from daemon.pool.states import Endpoint, Ip, Rules, Status
from daemon.web.endpoints import canonical_endpoint

SAME_S = 0.001  # times that differ by less are equal: rows have microseconds


class _Entry(msgspec.Struct):
    """The part of an entry `ip_changed` that matters here. Earlier versions lack some fields."""

    id: UUID
    status: str
    locked_until: float | None = None
    locked_until_boot_s: float | None = None
    boot_id: str = ""
    address: str = ""
    port: str = ""
    username: str = ""
    lease_no: int = 0

    @property
    def endpoint(self) -> Endpoint:
        """In its canonical spelling, which earlier versions did not write."""
        try:
            return *canonical_endpoint(self.address, self.port), self.username
        except BadInput:
            return self.address, self.port, self.username


_DECODER = msgspec.json.Decoder(_Entry)


class Rests:
    """Times are on the monotonic clock. `departed`: the ends of the rests of departed endpoints."""

    def __init__(self, departed: dict[Endpoint, float] | None = None) -> None:
        self.departed = {} if departed is None else departed
        self.given: dict[UUID, int] = {}  # lease numbers of the IPs that this node gave away, see giving.py
        self._held: dict[Endpoint, tuple[float, UUID]] = {}  # the end of the rest of the IP that has the endpoint
        self._known: dict[UUID, tuple[_Entry, float | None]] = {}  # the spool's last entry of an IP, and its end
        self._cut: set[Endpoint] = set()

    def learn(self, bodies: Iterable[str], now: Moment, rules: Rules) -> None:
        """Takes over the rests in entries `ip_changed`, in order.

        The rows may lack these rests: a database may be empty or older than the spool, and rows may have been changed
        while no daemon ran.
        """
        last: dict[tuple[str, str, str, UUID], tuple[_Entry, float | None]] = {}
        for entry in map(_DECODER.decode, bodies):
            if entry.address:
                key = entry.address, entry.port, entry.username, entry.id
                self._known[entry.id] = last[key] = entry, _tick_of(entry, now)
        limit_s = now.tick_s + rules.lock_s + rules.cooldown_s
        for entry, ends_s in last.values():
            if ends_s is not None:
                until_s = ends_s + (rules.cooldown_s if entry.status == Status.LOCKED else 0.0)
                self._depart(entry.endpoint, self._bounded(entry.endpoint, until_s, limit_s))
        self.forget(now.tick_s)

    def held(self, ip: Ip, rules: Rules) -> None:
        """Call it after each change of an IP."""
        if ip.leaving:
            return
        endpoint = ip.endpoint
        ends_s, held = _ends_s(ip, rules), self._held.get(endpoint)
        if held is not None and held[1] == ip.id:
            if ends_s is None:
                del self._held[endpoint]
            else:
                self._held[endpoint] = ends_s, ip.id
        elif ends_s is not None and (held is None or held[0] < ends_s):
            self._held[endpoint] = ends_s, ip.id

    def departs(self, ip: Ip, rules: Rules) -> None:
        """Call it before an IP loses its row or its endpoint, and when it is gone."""
        endpoint = ip.endpoint
        if (ends_s := _ends_s(ip, rules)) is not None:
            self._depart(endpoint, ends_s)
        if (held := self._held.get(endpoint)) is not None and held[1] == ip.id:
            del self._held[endpoint]

    def others_until_s(self, ip: Ip) -> float:
        """When the rest of the IP's endpoint under other rows ends; -inf without one."""
        endpoint = ip.endpoint
        departed_s, held = self.departed.get(endpoint, -math.inf), self._held.get(endpoint)
        return departed_s if held is None or held[1] == ip.id else max(departed_s, held[0])

    def until_s(self, endpoint: Endpoint) -> float:
        """When the endpoint's rest ends, under whichever row; -inf without one."""
        held = self._held.get(endpoint)
        return max(self.departed.get(endpoint, -math.inf), -math.inf if held is None else held[0])

    def later_s(self, ip: Ip, rules: Rules) -> float | None:
        """`others_until_s`, if that is later than the IP's own rest."""
        until_s, own_s = self.others_until_s(ip), _ends_s(ip, rules)
        return until_s if until_s > (-math.inf if own_s is None else own_s + SAME_S) else None

    def forget(self, now_s: float) -> None:
        """Removes the rests that are over."""
        for endpoint in [e for e, until_s in self.departed.items() if until_s <= now_s]:
            del self.departed[endpoint]
        for endpoint in [e for e, (until_s, _) in self._held.items() if until_s <= now_s]:
            del self._held[endpoint]

    def settle(self, row: Ip, now: Moment, rules: Rules, rests_s: float = 0.0) -> None:
        """Corrects the times of a row that joins a pool. The IP rests at least `rests_s`.

        If the spool has the IP's last lease, the times of the spool hold. Otherwise this node has not used the IP for
        longer than a rest, or another node has owned it since, which raises the row's `lease_no`: the times in the row
        may be of another machine's clock. The last use then only orders the available IPs, and counts as at least
        `cooldown_s` ago. An operator may have written a lock or a rest: a lock ends at most `lock_s` from now and a
        rest at most `lock_s + cooldown_s` from now. Only operators do, since a row without a rest has no `locked_until`
        when it changes its owner.
        """
        entry, ends_s = self._known.pop(row.id, (None, None))
        is_known = entry is not None and entry.lease_no >= row.lease_no  # else another node has leased the IP since
        if entry is not None and is_known:
            row.lease_no = entry.lease_no
            is_known = entry.endpoint == row.endpoint
        if is_known and ends_s is not None and row.locked_until_s is not None:
            row.locked_until_s = ends_s
        row.last_used_s = min(row.last_used_s, now.tick_s if is_known else now.tick_s - rules.cooldown_s)
        if row.locked_until_s is not None:
            limit_s = now.tick_s + rules.lock_s + (0.0 if row.status is Status.LOCKED else rules.cooldown_s)
            row.locked_until_s = self._bounded(row.endpoint, row.locked_until_s, limit_s)
        if rests_s:
            row.locked_until_s = max(now.tick_s + rests_s, row.locked_until_s or -math.inf)
            row.status = Status.COOLDOWN if row.status is Status.AVAILABLE else row.status

    def settle_again(
        self, rows: Iterable[Ip], before: dict[UUID, Ip], now: Moment, rules: Rules, rests_s: float = 0.0
    ) -> None:
        """Corrects the times of rows that a pool loads again; `before`: its IPs until now. Others rest `rests_s`."""
        left = dict(before)
        for row in rows:
            if (ip := before.get(row.id)) is not None and _keep_ticks(row, ip):
                del left[row.id]
            else:
                self.settle(row, now, rules, 0.0 if row.id in before else rests_s)
        for ip in left.values():
            self.departs(ip, rules)

    def longest_s(self, now_s: float) -> float:
        """How long from now until all endpoints have rested."""
        ends_s = [*self.departed.values(), *(until_s for until_s, _ in self._held.values())]
        return max(0.0, max(ends_s, default=now_s) - now_s)

    def take_cut(self) -> int:
        """How many endpoints had a rest that was cut, since the last call."""
        cut, self._cut = len(self._cut), set()
        return cut

    def _bounded(self, endpoint: Endpoint, until_s: float, limit_s: float) -> float:
        if until_s <= limit_s + SAME_S:
            return until_s
        self._cut.add(endpoint)
        return limit_s

    def _depart(self, endpoint: Endpoint, until_s: float) -> None:
        self.departed[endpoint] = max(until_s, self.departed.get(endpoint, -math.inf))


def _keep_ticks(row: Ip, before: Ip) -> bool:
    """Keeps the times that this run has measured: the wall clock of the row may have been set since.

    False if the row has another state: an operator has changed it, another node has leased the IP, or the row lacks the
    last lease.
    """
    if row.lease_no <= before.lease_no:
        row.last_used_s = before.last_used_s
    is_current = row.lease_no == before.lease_no and row.endpoint == before.endpoint
    row.lease_no = max(row.lease_no, before.lease_no)
    if not (is_current and row.status is before.status):
        return False
    row.locked_until_s = before.locked_until_s
    return True


def _ends_s(ip: Ip, rules: Rules) -> float | None:
    """The end of the IP's rest, for a leased IP that of the cooldown after its lock; None without a rest."""
    if ip.locked_until_s is None:
        return None
    return ip.locked_until_s + (rules.cooldown_s if ip.status is Status.LOCKED else 0.0)


def _tick_of(entry: _Entry, now: Moment) -> float | None:
    if entry.locked_until_boot_s is not None and entry.boot_id and entry.boot_id == now.boot_id:
        return now.tick_at_boot(entry.locked_until_boot_s)
    return None if entry.locked_until is None else now.tick_at(entry.locked_until)
