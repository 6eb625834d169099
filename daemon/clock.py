"""One reading of the clocks: decisions use `tick_s`, which cannot be set; rows and logs use `wall_s`. Pure."""

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """`tick_s`: trio's monotonic clock. `wall_s`: seconds since 1970 UTC.

    `boot_s`: the boot clock, seconds since the machine started; unlike `tick_s` it includes suspended time. Readings of
    it with the same `boot_id` can be compared, also those of different processes.
    """

    tick_s: float
    wall_s: float
    boot_s: float = 0.0
    boot_id: str = ""

    def wall_at(self, tick_s: float) -> float:
        """The wall time at `tick_s`, if nobody sets the wall clock."""
        return self.wall_s + (tick_s - self.tick_s)

    def tick_at(self, wall_s: float) -> float:
        return self.tick_s + (wall_s - self.wall_s)

    def boot_at(self, tick_s: float) -> float:
        return self.boot_s + (tick_s - self.tick_s)

    def tick_at_boot(self, boot_s: float) -> float:
        return self.tick_s + (boot_s - self.boot_s)
