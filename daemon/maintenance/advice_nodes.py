"""Advice on the nodes that share the database: lost, draining, different. Pure.

It goes by the tables alone, so each node gives the same.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from daemon.maintenance.figures import Advice, Figures, NodeFact, Severity, counted

LOST_S = 30.0  # a node renews its trust each second
DRAINING_S = 1_800.0
VERSIONS_S = 3_600.0
NAMED_MAX = 5
RESTART_FOR = frozenset({"node.trust_s"})  # settings that a reload does not change


def node_lost(f: Figures) -> Iterator[Advice]:
    for node in f.evidence.nodes:
        is_removed, is_over = node.state == "removed", node.trusted_for_s <= 0
        if not node.ips or not (is_removed or is_over or node.seen_s_ago >= LOST_S):
            continue
        until = datetime.fromtimestamp(node.free_at_s, UTC).strftime("%H:%M:%S UTC")
        if is_removed:
            what = f"The node {node.name} was removed."
        elif is_over:
            what = f"The node {node.name} does not reach PostgreSQL: its trust ended {-node.trusted_for_s:.0f} s ago."
        else:
            what = f"The node {node.name} has not reached PostgreSQL for {node.seen_s_ago:.0f} s."
        may = "" if is_over else f" Without PostgreSQL it may work for {node.trusted_for_s:.0f} s more."
        again = f"if its machine is gone for good: tracepool nodes remove {node.name}"
        yield Advice(
            "node_lost",
            Severity.CRITICAL if is_over and not is_removed else Severity.WARNING,
            f"{what}{may} No other node may use its {counted(node.ips, 'IP')} before {until}.",
            f"a node that owns IPs was removed, or has not renewed its trust for {LOST_S:g} s",
            {
                "seen_s_ago": round(node.seen_s_ago),
                "trusted_for_s": round(max(0.0, node.trusted_for_s)),
                "ips_out": node.ips,
            },
            "tracepool nodes" if is_removed or is_over else f"start it again, or repair its network; {again}",
            node.name,
            count=node.ips,
        )


def node_draining(f: Figures) -> Iterator[Advice]:
    for node in _leasing(f):
        if node.draining_s is None or node.draining_s < DRAINING_S:
            continue
        has = f"still has {counted(node.ips, 'IP')}" if node.ips else "has no IP left, so it can be stopped"
        yield Advice(
            "node_draining",
            Severity.INFO,
            f"The node {node.name} has been draining for {node.draining_s / 60:.0f} minutes, and {has}. Its clicks "
            "fall back to their tracking URLs.",
            f"a node is draining for more than {DRAINING_S / 60:g} minutes",
            {"minutes_draining": round(node.draining_s / 60), "ips": node.ips},
            f"stop that daemon, or let it work again: tracepool nodes undrain {node.name}",
            node.name,
            count=node.ips,
        )


def ips_nobodys(f: Figures) -> Iterator[Advice]:
    leasing = _leasing(f)
    if not f.evidence.nobodys_ips or not leasing:
        return
    ips, does = counted(f.evidence.nobodys_ips, "IP"), "belongs" if f.evidence.nobodys_ips == 1 else "belong"
    takers = sum(1 for node in leasing if node.draining_s is None)
    yield Advice(
        "ips_nobodys",
        Severity.WARNING,
        f"{ips} {does} to no node, so none leases {'it' if f.evidence.nobodys_ips == 1 else 'them'}: "
        + ("all nodes are draining." if not takers else "an endpoint may still rest after another row's use."),
        "IPs have belonged to no node for more than a minute, although a node runs",
        {"ips": f.evidence.nobodys_ips, "nodes_that_take_ips": takers},
        'tracepool psql -c "select id, ip_address, country, updated_at from ip_rotation_pool'
        ' where node_id is null and set_aside is null"',
        count=f.evidence.nobodys_ips,
    )


def settings_differ(f: Figures) -> Iterator[Advice]:
    leasing = _leasing(f)
    for key in sorted({key for node in leasing for key in node.settings}):
        names: dict[float, list[str]] = defaultdict(list)
        for node in leasing:
            if key in node.settings:
                names[node.settings[key]].append(node.name)
        if len(names) < 2:
            continue
        verb = "restart" if key in RESTART_FOR else "reload"
        yield Advice(
            "settings_differ",
            Severity.WARNING,
            f"{key} differs between the nodes: {_by_value(names)}. An IP follows the node that owns it.",
            "a setting that must be the same on all nodes is not",
            {"nodes": len(leasing), "values": len(names), "value_min": min(names), "value_max": max(names)},
            f"set {key} to one value on all nodes, then on each: systemctl {verb} tracepool",
            key,
            count=len(names),
        )


def versions_differ(f: Figures) -> Iterator[Advice]:
    up_s: dict[str, float] = {}
    names: dict[str, list[str]] = defaultdict(list)
    for node in _leasing(f):
        up_s[node.version] = max(node.up_s, up_s.get(node.version, 0.0))
        names[node.version].append(node.name)
    since_s = sorted(up_s.values(), reverse=True)[1:2]
    if not since_s or since_s[0] < VERSIONS_S:
        return
    yield Advice(
        "versions_differ",
        Severity.WARNING,
        f"The nodes have run different versions for {since_s[0] / 3600:.0f} h: {_by_value(names)}. Different versions "
        "run together only during an upgrade: upgrade all nodes.",
        f"nodes have run different versions for more than {VERSIONS_S / 3600:g} h",
        {"versions": len(names), "hours": round(since_s[0] / 3600, 1)},
        "tracepool nodes",
        count=len(names),
    )


def _leasing(f: Figures) -> list[NodeFact]:
    return [node for node in f.evidence.nodes if node.state == "active" and node.trusted_for_s > 0]


def _by_value(names: Mapping[float, list[str]] | Mapping[str, list[str]]) -> str:
    """Such as "60 on a, b; 90 on c"."""
    parts = []
    for value, nodes in sorted(names.items(), key=lambda item: (-len(item[1]), str(item[0]))):
        more = f" and {len(nodes) - NAMED_MAX} more" if len(nodes) > NAMED_MAX else ""
        shown = f"{value:g}" if isinstance(value, float | int) else value
        parts.append(f"{shown} on {', '.join(sorted(nodes)[:NAMED_MAX])}{more}")
    return "; ".join(parts)
