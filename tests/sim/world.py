"""A world: nodes, a database, clicks, and a script of faults. One seed makes one world, with one history."""

import itertools
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from random import Random
from uuid import UUID

from daemon.nodes.membership import quiet_s
from daemon.pool.pool import Pool
from daemon.pool.rests import Rests
from daemon.pool.states import Endpoint, Rules
from tests.sim.checker import Checker
from tests.sim.loop import Loop, Task
from tests.sim.mutants import CarelessPool
from tests.sim.network import OK, SLOW, Link
from tests.sim.node import WALL_S, Directory, Run
from tests.sim.tables import Data, IpRow, Tables

BACKUP_EACH_S = 1.0
BACKUPS_MAX = 90
MOVING_S, MOVING_CHECKS = 1.0, 8


@dataclass(frozen=True, slots=True)
class Size:
    """`load`: the clicks per second, as a share of what the IPs can serve. A trace has `hops` requests of `hop_s`."""

    nodes: int
    countries: int
    ips: int
    load: float
    trust_s: float = 15.0
    lock_s: float = 6.0
    cooldown_s: float = 3.0
    deadline_s: float = 4.0
    hops: int = 3
    hop_s: float = 0.5


class World:
    def __init__(self, seed: int, size: Size, faults: AbstractSet[str] = frozenset()) -> None:
        self.seed, self.size, self.faults = seed, size, faults
        self.chance = Random(seed)
        self.loop, self.checker = Loop(), Checker()
        self.trust_s, self.hops, self.hop_s = size.trust_s, size.hops, size.hop_s
        self.database_jump_s = 0.0
        self.tables = Tables(self.database_clock, faults)
        self.tables.notify = self._notify
        self.tables.told = self._told
        self.homes: list[Directory] = []
        self.names: dict[UUID | None, str] = {}
        self.runs: dict[UUID, Run] = {}  # by node, the newest
        self._numbers = itertools.count(1)
        self._clicks = Random(f"clicks {seed}")  # the same clicks whatever the nodes
        self.weights: Callable[[int], float] = lambda place: 1.0
        self.backups: list[tuple[float, Data]] | None = None
        self.is_over = False
        self.has_other_faults = False  # several at once: only the end is checked for IPs that are not usable
        for number in range(size.ips):
            self.tables.insert(self.new_row(number % size.countries))
        for _ in range(size.nodes):
            self.add_home()

    # Parts

    def new_number(self) -> int:
        return next(self._numbers)

    def new_row(self, country: int = 0, endpoint: Endpoint | None = None) -> IpRow:
        number = self.new_number()
        address, port = endpoint[:2] if endpoint else (f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "8080")
        return IpRow(UUID(int=number), address, port, f"c{country}")

    def add_home(self, rules: Rules | None = None) -> Directory:
        number = len(self.homes) + 1
        rules = rules or Rules(self.size.lock_s, self.size.cooldown_s, waiting_max=100)
        node_id = UUID(int=(number << 64) + self.chance.getrandbits(32))
        self.homes.append(Directory(node_id, f"node{number}", rules, Link(self.loop, self.chance)))
        self.names[node_id] = f"node{number}"
        return self.homes[-1]

    def start(self, home: Directory) -> Run:
        """A second run on a state directory is refused (host/state_dir.py)."""
        if (known := self.runs.get(home.node_id)) is not None and known.is_alive:
            return known
        self.runs[home.node_id] = run = Run(self, home)
        return run

    def run_of(self, place: int) -> Run:
        return self.runs[self.homes[place].node_id]

    def pool(self, country: str, rules: Rules, rests: Rests) -> Pool:
        if not self.faults & {"give_leased", "stale_adopt"}:
            return Pool(country, rules, rests)
        return CarelessPool(self.faults, country, rules, rests)

    def database_clock(self) -> float:
        return WALL_S + self.loop.now_s + self.database_jump_s

    def _told(self, row: IpRow, what: str) -> None:
        owner = self.names.get(row.node_id, "nobody")
        self.checker.note(row.endpoint, self.loop.now_s, f"row {row.id.int}, {owner}'s: {what}")

    def _notify(self, first: int, last: int, node_id: UUID | None) -> None:
        for run in self.runs.values() if node_id is None else filter(None, [self.runs.get(node_id)]):
            if run.is_listening and run.home.link.mode in (OK, SLOW):
                run.home.link.pass_on(lambda run=run: run.after(0.0, lambda: run.announce(first, last)))  # type: ignore[misc]

    def spawn(self, task: Task) -> None:
        """A task of the world, which no fault stops."""

        def step() -> None:
            for pause_s in task:
                self.loop.after(pause_s, step)
                return

        step()

    # Clicks

    def visitors(self) -> Task:
        chance, size = self._clicks, self.size
        per_s = size.load * size.ips / (size.hops * size.hop_s + size.cooldown_s)
        for number in itertools.count(1):
            yield chance.expovariate(per_s)
            country, draw = f"c{self._country(chance.random())}", chance.random()
            if self.is_over:
                return
            self._send(number, country, draw)

    def _country(self, draw: float) -> int:
        return int(draw * self.size.countries)

    def _send(self, number: int, country: str, draw: float) -> None:
        places = [place for place, home in enumerate(self.homes) if self._answers(home)]
        weights = [self.weights(place) for place in places]
        left = draw * sum(weights)
        for place, weight in zip(places, weights, strict=True):
            left -= weight
            if left < 0:
                self.run_of(place).click(country, number, self.size.deadline_s)
                return
        self.checker.outcomes["no_node"] += 1

    def _answers(self, home: Directory) -> bool:
        run = self.runs.get(home.node_id)
        return run is not None and run.is_alive and not run.is_stopped

    # Backups

    def keep_backups(self) -> Task:
        self.backups = []
        while not self.is_over:
            self.backups.append((self.loop.now_s, self.tables.data.copied()))
            del self.backups[:-BACKUPS_MAX]
            yield BACKUP_EACH_S

    # Judging

    @property
    def quiet_s(self) -> float:
        return quiet_s(self.size.lock_s, self.size.cooldown_s)

    def living(self) -> Iterator[Run]:
        for run in self.runs.values():
            if run.is_alive and not run.is_stopped:
                yield run

    def stuck(self, ids: AbstractSet[UUID] | None = None) -> list[IpRow]:
        """Healthy rows, of `ids` or all, that not exactly one node leases."""
        users, found = self._users(), []
        for row in self.tables.rows():
            if not row.is_healthy or row.status == "failed" or (ids is not None and row.id not in ids):
                continue
            runs = users.get(row.id, ())
            if len(runs) != 1 or runs[0].home.node_id != row.node_id:
                found.append(row)
        return found

    def _users(self) -> dict[UUID, list[Run]]:
        """By IP, the runs that lease it."""
        users: dict[UUID, list[Run]] = {}
        for run in self.living():
            for ip_id in run.usable():
                users.setdefault(ip_id, []).append(run)
        return users

    def expect_usable(self, why: str, ids: AbstractSet[UUID] | None = None) -> Task:
        """Checks healthy rows, of `ids` or all. A row that is not usable has MOVING_S: it may be moving."""
        began_s, stuck = self.loop.now_s, {row.id for row in self.stuck(ids)}
        if self.has_other_faults:
            return
        for _ in range(MOVING_CHECKS):
            if not stuck:
                return
            yield MOVING_S / MOVING_CHECKS
            stuck = {row.id for row in self.stuck(stuck)}
        for row in (self.tables.data.ips[ip_id] for ip_id in sorted(stuck)):
            users = [run.name for run in self._users().get(row.id, ())]
            owner = self.names.get(row.node_id, row.node_id)
            what = f"{why}: {row.endpoint[0]} of {owner} is used by {users or 'nobody'}, and {len(stuck) - 1} more"
            self.checker.breach("stuck", began_s, what, row.endpoint)
            return

    def finish(self) -> None:
        """All faults are over: after some time each IP is usable, and each fact is in the database once."""
        size = self.size
        for home in self.homes:
            home.link.set(OK)
        settle_s = size.trust_s + self.quiet_s + 15.0 + size.lock_s + size.cooldown_s
        self.loop.run_until(self.loop.now_s + settle_s)
        self.has_other_faults = False
        self.spawn(self.expect_usable("at the end"))
        self.loop.run_until(self.loop.now_s + 2 * MOVING_S)
        self.is_over = True
        self.loop.run_until(self.loop.now_s + size.deadline_s + size.lock_s + 1.0)
        self._ship_spools()
        for what in self.tables.foreign_states:
            self.checker.breach("foreign", self.loop.now_s, what)
        self.checker.end(self.loop.now_s, self.tables.data.facts)

    def _ship_spools(self) -> None:
        """Spools of dead nodes arrive hours later: their facts count, their states do not."""
        for home in self.homes:
            run = self.runs.get(home.node_id)
            if run is not None and run.is_alive:
                continue
            owners = {row.id: row.node_id for row in self.tables.rows()}
            for lane in ("facts", "states"):
                after = self.tables.position(home.node_id, lane)
                batch = [entry for entry in home.spool[lane] if entry[0] > after]
                known = self.tables.data.nodes.get(home.node_id)
                if batch and (
                    lane == "facts" or "unowned_states" in self.faults or (known and known.state == "active")
                ):
                    self.tables.apply(home.node_id, lane, known.claim if known else None, after, batch)
            if any(owners[row.id] != row.node_id for row in self.tables.rows()):
                self.checker.breach("foreign", self.loop.now_s, f"a gift of {home.name} moved another node's IP")
