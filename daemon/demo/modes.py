"""The ways in which a demo proxy can be made to fail."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Mode:
    """A way in which a proxy fails; see the constants below. It holds for requests that begin after it was set."""

    kind: Literal["refuse", "reset", "silent", "answer", "close_after", "delay"]
    status: int = 0
    bytes_max: int = 0
    delay_s: float = 0.0


REFUSE = Mode("refuse")
"""New connections are refused; those that stand go on."""
RESET = Mode("reset")
"""The request is read, then the connection is reset."""
SILENT = Mode("silent")
"""The request is read and never answered."""
UNAUTHORISED = Mode("answer", status=407)
BAD_GATEWAY = Mode("answer", status=502)


def close_after(bytes_max: int) -> Mode:
    """Close once so many bytes of an answer, or from inside a tunnel, have been passed on."""
    return Mode("close_after", bytes_max=bytes_max)


def delay(delay_s: float) -> Mode:
    """Wait so long before doing anything about a request."""
    return Mode("delay", delay_s=delay_s)
