"""The lines of `tracepool status` about nodes, and which nodes run although no daemon runs here."""

from collections.abc import Iterable, Mapping
from typing import Any

NAMES_SHOWN = 8
STALE_S = 5.0


def cluster_lines(found: Mapping[str, Any]) -> list[str]:
    """Which nodes the figures above are of, and which were not seen lately. No line for the one node that runs here."""
    nodes = found.get("nodes", [])
    away_s = found.get("node", {}).get("nodes_read_s_ago") or 0.0
    if not nodes or (len(nodes) == 1 and found["daemon"] == "running"):
        return []
    lines = [f"these are the figures of {_count(nodes)} together: {names_of(nodes)}"]
    if away_s > STALE_S:  # then nothing is known of whether the others run
        lines.append(f"PostgreSQL does not answer: the figures of the other nodes are {away_s:.0f} s old")
    stale = [node for node in nodes if node["stale"] and away_s <= STALE_S]
    lines += [f"NOT seen for {node['seen_s_ago']:.0f} s: {node['name']}; {_effect(node)}" for node in stale]
    draining = [node for node in nodes if node["draining"] and node["state"] == "active" and not node["stale"]]
    lines += [f"draining: {node['name']} {_left_to_give(sum(node['ips'].values()))}" for node in draining]
    lines += [f"filling up on {node['name']}: {name}" for node in nodes if not node["this"] for name in node["filling"]]
    return lines


def waiting_lines(queues: Iterable[Mapping[str, Any]]) -> list[str]:
    """The traces of background clicks, and of `tracepool trace`, that have not ended, by country."""
    lines = []
    for queue in queues:
        since = f" since {queue['since'][11:19]} UTC" if queue["since"] else ""
        if behind := queue.get("background"):
            oldest = f"the oldest since {queue['background_since'][11:19]} UTC"
            below = "they begin below pool.background_below_percent"
            lines.append(f"background clicks in {queue['country']}: {behind} wait for an IP, {oldest}; {below}")
        if not queue["waiting"] and not queue["running"]:
            continue
        why = f": {queue['why']}" if queue["why"] else ""
        lines.append(
            f"tracepool trace in {queue['country']}: {queue['waiting']} wait{since}, {queue['running']} run{why}"
        )
        if queue["next"]:
            lines.append(f"    next: {queue['next']}; or cancel them: tracepool trace --cancel all")
    return lines


def own_lines(node: Mapping[str, Any], *, several: bool) -> list[str]:
    """Whether the node of this machine may lease IPs, for how long without PostgreSQL, and its part of the figures."""
    trust, name = node["trusted_for_s"], node["name"]
    if node.get("draining"):
        lines = [f"node: {name}, draining: clicks fall back; end it: tracepool nodes undrain {name}"]
    elif not node["leasing"]:
        lines = [f"node: {name}, NOT leasing: clicks fall back; the log says why"]
    else:
        lines = [f"node: {name}, leasing" + ("" if trust is None else f"; without PostgreSQL for {trust:.0f} s more")]
    if several and "countries" in node:
        minute = node["last_minute"]
        owned = ", ".join(f"{country} {counts['total']}" for country, counts in node["countries"].items()) or "none"
        lines.append(
            f"this node alone: IPs {owned}; {node['active_traces']} active traces; last minute "
            f"{minute['clicks']} clicks, {minute['resolved']} resolved{background_of(minute)}"
        )
    return lines


def background_of(minute: Mapping[str, Any]) -> str:
    """The clicks of the last minute that nobody waited for."""
    count = minute.get("background", 0)
    return f"; {count} background clicks" if count else ""


def names_of(nodes: Iterable[Mapping[str, Any]]) -> str:
    names = [f"{node['name']}{' (here)' if node['this'] else ''}" for node in nodes]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _left_to_give(ips: int) -> str:
    return f"gives its {ips} IPs away" if ips else "has no IP left"


def _count(nodes: list[Any]) -> str:
    return "1 node" if len(nodes) == 1 else f"{len(nodes)} nodes"


def _effect(node: Mapping[str, Any]) -> str:
    """What follows from a node that does not renew."""
    if node["free_in_s"] is None:
        return "its figures are that old"
    return (
        f"its figures are that old; others use its IPs in {node['free_in_s']:.0f} s, or after tracepool nodes remove "
        f"{node['name']}"
    )
