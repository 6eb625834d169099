"""The figures of one node, which it writes to its row in `nodes` with each renewal. Pure."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

import msgspec

from daemon.nodes.waits import Waits

MINUTE_S = 60.0
SOON_S = 3.0
LISTED_MAX = 10  # providers of a country, offers with fallbacks, providers with failed attempts


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """`count` IPs that were given to a node lately. It has them all once its `adopted` is `seen_at`."""

    count: int
    seen_at: int


class CountryFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """One country's IPs that the node owns, by status, and the requests for them.

    `waiting`: requests that wait for an IP. `wanted_per_s`: new requests per second, also refused ones, smoothed over
    about 30 s. `missed`: requests of the last seconds that got no IP. `broken`: failed IPs that count towards the limit
    of states.Quarantine. `soon`: 1 if the next rest ends within SOON_S. `adopted`: how many IPs have joined since the
    node started. `sent`: gifts that the receiver's figures may lack, by receiver. `out`: failed IPs, and other IPs
    whose last trace failed by the IP's fault, by provider.
    """

    available: int = 0
    locked: int = 0
    cooldown: int = 0
    failed: int = 0
    waiting: int = 0
    wanted_per_s: float = 0.0
    missed: int = 0
    broken: int = 0
    soon: int = 0
    adopted: int = 0
    sent: dict[UUID, Sent] = {}
    out: dict[str, tuple[int, int]] = {}

    @property
    def healthy(self) -> int:
        return self.available + self.locked + self.cooldown

    @property
    def total(self) -> int:
        return self.healthy + self.failed


@dataclass(frozen=True, slots=True)
class FallenOffer:
    """An offer's clicks of the last minute that fell back. `country`: the offer's; empty if no offer has the name."""

    offer: str
    country: str
    fallbacks: int


class ClickFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answered clicks of the last minute; `fallbacks` by reason, and `fallen` by offer, the most first.

    `background`: clicks that were answered at once, and are not among `clicks`. `marked`: requests that were no clicks
    of their own, by the kind of their hit.
    """

    resolved: int = 0
    fallbacks: dict[str, int] = {}
    waits: Waits = Waits()
    background: int = 0
    fallen: tuple[FallenOffer, ...] = ()
    marked: dict[str, int] = {}

    @property
    def clicks(self) -> int:
        return self.resolved + sum(self.fallbacks.values())


class CurveFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """For the curves that other nodes show, see control/cluster_history.py.

    `clicks`: all clicks since the start, by column of control/history.py. `traces`: the times of the traces that ended
    in the last minute.
    """

    clicks: dict[str, int] = {}
    traces: Waits = Waits()


class ProviderFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider's health as this node's traces show it, see trace/provider_health.py.

    `since`: the wall clock's time, in ISO 8601. `idle_s`: since the last trace. `accepted`: a trace has succeeded since
    `since`. `why`: the reason for the health `suspected`; `country`: where.
    """

    state: str
    since: str
    traces: int = 0
    refused: int = 0
    spared: int = 0
    idle_s: int = 0
    accepted: bool = False
    why: str = ""
    country: str = ""


class AttemptFigures(NamedTuple):
    """The last minutes' attempts through a provider's IPs of a country, see maintenance/attempts.py.

    `failed`: by the fault of the IP or of the provider. `error`: the most common one, of `errors` attempts.
    """

    country: str
    provider: str
    attempts: int
    failed: int
    error: str
    errors: int


class Hindered(NamedTuple):
    """An activity of the node that PostgreSQL or the disk prevents."""

    activity: str
    sentence: str
    remedy: str


class NodeFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """`countries` by canonical name.

    `pools_s`: since the pools were loaded; 0 before that. `clicks_waiting`: clicks without an answer; `queued`:
    requests without an IP. `backlog`: entries that PostgreSQL does not have yet, -1 if the disk cannot be read;
    `refused`: entries that PostgreSQL refused and that are kept. `filling`: queues that are at least half full, with
    length and limit. `connections`: to PostgreSQL, at most. `settings`: those that must be the same on all nodes, by
    their keys. `attempts`: where attempts failed in the last minutes.
    """

    countries: dict[str, CountryFigures] = {}
    pools_s: float = 0.0
    clicks: ClickFigures = ClickFigures()
    clicks_waiting: int = 0
    queued: int = 0
    active_traces: int = 0
    uptime_s: int = 0
    backlog: int = 0
    refused: int = 0
    filling: dict[str, tuple[int, int]] = {}
    providers: dict[str, ProviderFigures] = {}
    hindered: tuple[Hindered, ...] = ()
    settings: dict[str, float] = {}
    connections: int = 0
    curves: CurveFigures = CurveFigures()
    attempts: tuple[AttemptFigures, ...] = ()

    @property
    def clicks_per_s(self) -> float:
        """Over the last minute, or since the start if that is later."""
        clicks = self.clicks.clicks + self.clicks.background
        return clicks / max(1.0, min(MINUTE_S, self.uptime_s)) if clicks else 0.0


NO_COUNTRY_FIGURES = CountryFigures()
NO_FIGURES = NodeFigures()
ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(NodeFigures)


def largest(out: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """At most LISTED_MAX providers: operators may fill the column with any text."""
    if len(out) <= LISTED_MAX:
        return dict(out)
    return dict(sorted(out.items(), key=lambda item: -sum(item[1]))[:LISTED_MAX])


def decoded(figures: str | bytes | None) -> NodeFigures:
    """The column nodes.figures. A field that another version wrote in another form counts as missing."""
    try:
        return DECODER.decode(figures) if figures else NO_FIGURES
    except msgspec.MsgspecError:
        return _readable(figures or "")


def _readable(figures: str | bytes) -> NodeFigures:
    try:
        written = msgspec.json.decode(figures, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return NO_FIGURES
    fields = {}
    for field in msgspec.structs.fields(NodeFigures):
        with suppress(msgspec.MsgspecError, KeyError):
            fields[field.name] = msgspec.json.decode(written[field.name], type=field.type)
    return NodeFigures(**fields)
