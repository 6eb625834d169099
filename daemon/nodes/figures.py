"""The figures of one node, which it writes to its row in `nodes` with each renewal. Pure."""

import msgspec


class CountryFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """One country's IPs that the node owns, by status, and the requests for them.

    `waiting`: requests that wait for an IP. `wanted_per_s`: new requests per second, also refused ones, smoothed over
    about 30 s. `missed`: requests of the last seconds that got no IP.
    """

    available: int = 0
    locked: int = 0
    cooldown: int = 0
    failed: int = 0
    waiting: int = 0
    wanted_per_s: float = 0.0
    missed: int = 0

    @property
    def healthy(self) -> int:
        return self.available + self.locked + self.cooldown

    @property
    def total(self) -> int:
        return self.healthy + self.failed


class NodeFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """`countries` by canonical name."""

    countries: dict[str, CountryFigures] = {}


NO_FIGURES = NodeFigures()
ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder(NodeFigures)
