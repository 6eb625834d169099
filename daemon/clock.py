"""One reading of the clocks: decisions use `tick_s`, which nobody can set; rows and logs use `wall_s`. Pure."""

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """`tick_s`: trio's monotonic clock. `wall_s`: seconds since 1970 UTC.

    `boot_s`: seconds since the machine started, those in which it was suspended included, as `tick_s` does not.
    """

    tick_s: float
    wall_s: float
    boot_s: float = 0.0

    def wall_at(self, tick_s: float) -> float:
        """The wall time at which the monotonic clock will read `tick_s`, as far as is known now."""
        return self.wall_s + (tick_s - self.tick_s)

    def tick_at(self, wall_s: float) -> float:
        return self.tick_s + (wall_s - self.wall_s)
