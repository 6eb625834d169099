"""The figures of one node, which it writes to its row in `nodes` with each renewal. Pure."""

from uuid import UUID

import msgspec


class Sent(msgspec.Struct, frozen=True, array_like=True):
    """`count` IPs that were given to a node lately. It has them all once its `adopted` is `seen_at`."""

    count: int
    seen_at: int


class CountryFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """One country's IPs that the node owns, by status, and the requests for them.

    `waiting`: requests that wait for an IP. `wanted_per_s`: new requests per second, also refused ones, smoothed over
    about 30 s. `missed`: requests of the last seconds that got no IP. `adopted`: how many IPs have joined this country
    since the node started. `sent`: gifts that the receiver's figures may lack, by receiver.
    """

    available: int = 0
    locked: int = 0
    cooldown: int = 0
    failed: int = 0
    waiting: int = 0
    wanted_per_s: float = 0.0
    missed: int = 0
    adopted: int = 0
    sent: dict[UUID, Sent] = {}

    @property
    def healthy(self) -> int:
        return self.available + self.locked + self.cooldown

    @property
    def total(self) -> int:
        return self.healthy + self.failed


class NodeFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """`countries` by canonical name. `up_s`: since the node's pools were loaded; 0 before that."""

    countries: dict[str, CountryFigures] = {}
    up_s: float = 0.0


NO_COUNTRY_FIGURES = CountryFigures()
NO_FIGURES = NodeFigures()
ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(NodeFigures)
