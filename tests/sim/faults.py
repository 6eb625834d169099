"""The scripts of faults. Each is a task of the world, and returns when the fault is over or lasts for good.

`place`: a node, by its index. `w.size.nodes` are at least three, and stay able to lease unless a script says otherwise.
"""

from collections.abc import Callable
from uuid import UUID

from daemon.pool.states import Rules
from tests.sim.loop import Task
from tests.sim.network import HOLE, OK, REFUSED, SLOW
from tests.sim.world import World

JUMP_S = 3600.0
BACK_S = 3.0  # after a restart in place
NOTICED_S = 10.0
REMOVED_S = 5.0

Script = Callable[[World], Task]


def _own(w: World, place: int) -> frozenset[UUID]:
    return frozenset(w.tables.data.owned.get(w.homes[place].node_id, ()))


def _place(w: World) -> int:
    return w.chance.randrange(w.size.nodes)


def killed_and_restarted(w: World) -> Task:
    """1: SIGKILL, restart in place."""
    for _ in range(w.chance.randint(1, 3)):
        place = _place(w)
        w.run_of(place).kill()
        yield w.chance.choice([0.05, 1.0, w.trust_s / 2])
        own = _own(w, place)
        w.start(w.homes[place])
        yield BACK_S
        kept = own & _own(w, place)  # others may have been given away since
        yield from w.expect_usable("3 s after a restart in place", kept)
        taken = [ip_id for ip_id in own - kept if (row := w.tables.data.ips.get(ip_id)) and row.node_id is None]
        if taken:
            w.checker.breach("moved", w.loop.now_s, f"{len(taken)} IPs lost their owner by a restart in place")
        yield w.chance.uniform(0.5, 5.0)


def killed_for_good(w: World) -> Task:
    """2: SIGKILL for good; every other time the operator removes the node."""
    place = _place(w)
    own = _own(w, place)
    w.run_of(place).kill()
    wait_s = w.trust_s + w.quiet_s + NOTICED_S
    if w.chance.random() < 0.5:
        yield w.chance.uniform(0.5, 5.0)
        w.tables.remove_node(w.homes[place].node_id)
        wait_s = w.quiet_s + REMOVED_S
    yield wait_s
    yield from w.expect_usable(f"{wait_s:g} s after the loss of {w.homes[place].name}", own)


def stopped(w: World) -> Task:
    """3: SIGSTOP for half of the trust, just beyond it, or beyond trust and quiet; SIGCONT with traces in flight."""
    run = w.run_of(_place(w))
    if w.chance.random() < 0.5:  # while PostgreSQL works on a renewal, whose answer the node reads after SIGCONT
        for _ in range(2_000):
            yield 0.001
            if run.is_renewing:
                break
    run.stop()
    beyond_s = w.chance.choice([-w.trust_s / 2, w.chance.uniform(0, 3), w.quiet_s + w.chance.uniform(0, 9)])
    yield w.trust_s + beyond_s
    run.go_on()
    yield 5.0


def suspended(w: World) -> Task:
    """4: the machine sleeps: its monotonic clock stands still, its boot clock goes on."""
    run = w.run_of(_place(w))
    run.stop()
    pause_s = w.chance.choice([w.trust_s / 2, w.trust_s + 2, w.trust_s + w.quiet_s + 5])
    yield pause_s
    run.home.suspended_s += pause_s
    run.go_on()
    yield 5.0


def clocks_jump(w: World) -> Task:
    """4: the wall clocks of a node and of the database are set by one hour; a node's boot clock jumps ahead."""
    for _ in range(3):
        kind = w.chance.randrange(4)
        if kind == 0:
            w.homes[_place(w)].wall_jump_s += w.chance.choice([-JUMP_S, JUMP_S])
        elif kind == 1:
            w.database_jump_s += w.chance.choice([-JUMP_S, JUMP_S])
        elif kind == 2:
            w.homes[_place(w)].boot_jump_s += w.chance.choice([w.trust_s / 2, JUMP_S])
        else:
            w.homes[_place(w)].wall_jump_s += w.chance.choice([-JUMP_S, JUMP_S])
            yield from killed_and_restarted(w)
        yield w.chance.uniform(0.5, 8.0)


def cut_off(w: World) -> Task:
    """5: one node does not reach PostgreSQL: refused, a black hole, or slow and stalling."""
    place = _place(w)
    link = w.homes[place].link
    own = _own(w, place)
    mode = w.chance.choice([REFUSED, HOLE, SLOW])
    link.set(mode)
    if mode == SLOW and w.chance.random() < 0.5:
        yield w.chance.uniform(1.0, 5.0)
        mode = HOLE
        link.set(mode)
    pause_s = w.chance.choice([w.trust_s / 2, w.trust_s + 2, w.trust_s + w.quiet_s + NOTICED_S])
    yield pause_s
    state = w.tables.data.nodes[w.homes[place].node_id].state
    if pause_s < w.trust_s and state == "lost":
        w.checker.breach("moved", w.loop.now_s, f"{w.homes[place].name} was lost within its trust")
    if mode != SLOW and pause_s > w.trust_s + w.quiet_s:
        yield from w.expect_usable("after the trust of a node that was cut off", own)
    link.set(OK)
    yield 5.0


def copied(w: World) -> Task:
    """9: the state directory is copied, and both run: the copy gets a node_id of its own (host/state_dir.py)."""
    source = w.homes[_place(w)]
    copy = w.add_home(source.rules)
    copy.seq = source.seq
    w.start(copy)
    yield 10.0


def other_cooldown(w: World) -> Task:
    """10: a rolling change of cooldown_s, node by node, by a restart in place."""
    cooldown_s = w.size.cooldown_s * w.chance.choice([0.3, 2.0])
    for place, home in enumerate(w.homes):
        w.run_of(place).kill()
        home.rules = Rules(w.size.lock_s, cooldown_s, waiting_max=100)
        w.checker.restarts_with(home.name, cooldown_s)
        yield w.chance.uniform(0.1, 1.0)
        w.start(home)
        yield w.chance.uniform(1.0, 5.0)


def operators_edit(w: World) -> Task:
    """12: INSERT, UPDATE and DELETE while IPs move, also the same endpoint again and endpoints swapped."""
    for _ in range(w.chance.randint(10, 40)):
        rows = list(w.tables.rows())
        row, other = w.chance.choice(rows), w.chance.choice(rows)
        kind = w.chance.randrange(8)
        w.checker.note(row.endpoint, w.loop.now_s, f"operator's edit {kind}")
        if kind == 0:
            w.tables.insert(w.new_row(w.chance.randrange(w.size.countries)))
        elif kind == 1 and len(rows) > w.size.ips // 2:
            w.tables.delete(row.id)
        elif kind == 2:
            endpoint = row.endpoint
            w.tables.delete(row.id)
            yield w.chance.choice([0.0, 0.0005, 0.5, 3.0])
            w.tables.insert(w.new_row(w.chance.randrange(w.size.countries), endpoint))
        elif kind == 3 and row is not other:
            (a, port_a, _), (b, port_b, _) = row.endpoint, other.endpoint
            w.tables.set_endpoint(row.id, f"moving-{w.new_number()}", "1")
            w.tables.set_endpoint(other.id, a, port_a)
            w.tables.set_endpoint(row.id, b, port_b)
        elif kind == 4:
            endpoint = row.endpoint
            w.tables.set_endpoint(row.id, f"new-{w.new_number()}", "1")
            yield w.chance.choice([0.0, 0.5])
            w.tables.insert(w.new_row(w.chance.randrange(w.size.countries), endpoint))
        elif kind == 5:
            w.tables.set_state(row.id, "available")
        elif kind == 6:
            w.tables.set_state(row.id, "failed", healthy=False)
            yield w.chance.uniform(0.0, 3.0)
            w.tables.set_state(row.id, "available")
        else:
            w.tables.set_country(row.id, f"c{w.chance.randrange(w.size.countries)}")
        yield w.chance.choice([0.0, 0.001, 0.3, 1.0])


def drained(w: World) -> Task:
    """A node gives everything away and is stopped, or is needed again."""
    home = w.homes[_place(w)]
    w.tables.data.nodes[home.node_id].draining = True
    yield w.chance.uniform(1.0, 15.0)
    if (row := w.tables.data.nodes.get(home.node_id)) is not None:
        row.draining = False
    yield 3.0


def joins(w: World) -> Task:
    """13: more nodes start at once."""
    for _ in range(w.chance.randint(1, 5)):
        w.start(w.add_home())
    yield 10.0


def flaps(w: World) -> Task:
    """13: one node is killed and started 20 times a minute."""
    place = _place(w)
    for _ in range(8):
        w.run_of(place).kill()
        yield w.chance.uniform(0.3, 1.5)
        w.start(w.homes[place])
        yield w.chance.uniform(0.3, 2.5)


def load_turns(w: World) -> Task:
    """14: 80:20 between two nodes, reversed."""
    w.weights = lambda place: 4.0 if place == 0 else 1.0
    yield 15.0
    w.weights = lambda place: 4.0 if place == 1 else 1.0
    yield 15.0
    w.weights = lambda place: 1.0


def restored(w: World) -> Task:
    """7, 8: the database is as it was some seconds ago."""
    ago_s = w.chance.choice([1.0, 3.0, 20.0])
    assert w.backups
    at = min(range(len(w.backups)), key=lambda i: abs(w.backups[i][0] - (w.loop.now_s - ago_s)) if w.backups else 0.0)
    w.tables.restore(w.backups[at][1])
    del w.backups[at + 1 :]
    yield w.quiet_s


SCRIPTS: dict[str, Script] = {
    script.__name__: script
    for script in (
        killed_and_restarted, killed_for_good, stopped, suspended, clocks_jump, cut_off, copied, other_cooldown,
        operators_edit, drained, joins, flaps, load_turns, restored,
    )
}  # fmt: skip
