"""Recognises a click that arrives again: by its click id, or without one by the visitor and the parameters.

One node recognises the repeats of its own clicks. Times are ticks, in seconds.
"""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, TypeVar
from uuid import UUID

import trio

from daemon.click.visitor import Visitor
from daemon.storable import storable
from daemon.web.query import Param

C = TypeVar("C")

CLICK_IDS = ("gclid", "msclkid", "fbclid", "ttclid", "wbraid", "gbraid")
"""The parameters that identify a click, of offers without `click_ids` of their own: the most exact ones first."""

CLICK_ID_CHARACTERS_MAX = 512
"""A longer click id is stored by its beginning: an index of PostgreSQL has no room for the rest."""

KEPT_MAX = 50_000
"""At most this many clicks are remembered; then the oldest ones are forgotten."""

LOCATIONS_BYTES_MAX = 64 * 1024**2
"""The URLs of the remembered answers take at most this much memory."""

KEY_BYTES = 16

MACRO_CHARACTERS = frozenset("{}[]<>$")
MACRO_EDGES = frozenset("%#@!*|~:()")
NO_CLICK_IDS = frozenset({"null", "undefined", "none", "nil", "nan", "n/a", "unknown", "not set", "not_set", "-"})
"""In lower case, what programs write for a value that they do not have."""


def repeat_key(scope: UUID, click_ids: Collection[str], params: Sequence[Param], visitor: Visitor) -> bytes | None:
    """What a click has in common with its repeats, as a digest. None if neither a click id nor an address is known.

    `scope`: the offer's id, or what stands for an unserved click's. `click_ids`: in lower case; none: CLICK_IDS.
    """
    names = click_ids or CLICK_IDS
    parts = [p.raw for p in params if (name := p.name.lower()) in names and _is_click_id(name, p.value)]
    if parts:
        parts.sort()
    elif visitor.address is None:
        return None
    else:
        parts = [visitor.address, visitor.user_agent or "", "", *(param.raw for param in params)]
    text = "\n".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=KEY_BYTES, key=scope.bytes).digest()


def click_id_of(click_ids: Collection[str], params: Sequence[Param]) -> str | None:
    """The click's own id, by which its hit can be found. `click_ids`: as in `repeat_key`."""
    names = click_ids or CLICK_IDS
    own = ((name, p.value) for p in reversed(params) if (name := p.name.lower()) in names)
    found = {name: value for name, value in own if _is_click_id(name, value)}
    first = next((found[name] for name in CLICK_IDS if name in found), None) or next(reversed(found.values()), None)
    return first and storable(first[:CLICK_ID_CHARACTERS_MAX])


def _is_click_id(name: str, value: str) -> bool:
    """Whether the value is one click's own. A macro that was not replaced is the same in every visitor's click.

    `name`: of the parameter, in lower case.
    """
    text = value.strip().lower()
    if not text or text == name or text in NO_CLICK_IDS or not MACRO_CHARACTERS.isdisjoint(text):
        return False
    return not ((text[0] in MACRO_EDGES and text[-1] in MACRO_EDGES) or (text.startswith("__") and text.endswith("__")))


@dataclass(slots=True, eq=False)
class First(Generic[C]):
    """A click whose repeats are recognised. `answer`: the URL and the fallback's reason, once they are known.

    is_waited_for: a visitor waits for the answer. After the visitor has left, a repeat goes on with `click`.
    """

    key: bytes
    click: C | None
    until_s: float
    answer: tuple[str, str | None] | None = None
    is_waited_for: bool = True
    _changed: trio.Event | None = None

    async def changed(self) -> None:
        """Return after the next `answered` or `left`."""
        if self._changed is None:
            self._changed = trio.Event()
        await self._changed.wait()

    def left(self) -> None:
        self.is_waited_for = False
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


@dataclass(eq=False, repr=False)
class Repeats(Generic[C]):
    """The clicks of the last click.repeat_s, the oldest first."""

    _kept: OrderedDict[bytes, First[C]] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def __len__(self) -> int:
        return len(self._kept)

    def first(self, key: bytes, now_s: float) -> First[C] | None:
        """The click of which a request with this key is a repeat."""
        first = self._kept.get(key)
        if first is None or first.is_waited_for or now_s < first.until_s:
            return first
        self._forget(key)
        return None

    def begin(self, key: bytes, click: C, now_s: float, repeat_s: float) -> First[C]:
        """Remember a click that no other one precedes."""
        while self._kept:
            oldest = next(iter(self._kept))
            is_over = not self._kept[oldest].is_waited_for and self._kept[oldest].until_s <= now_s
            if not is_over and len(self._kept) < KEPT_MAX:
                break
            self._forget(oldest)
        first = self._kept[key] = First(key, click, now_s + repeat_s)
        return first

    def answered(self, first: First[C], location: str, reason: str | None) -> None:
        first.answer, first.click = (location, reason), None
        first.left()
        if self._kept.get(first.key) is not first:
            return  # too many other clicks have come since
        self._bytes += len(location)
        while self._bytes > LOCATIONS_BYTES_MAX:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        first = self._kept.pop(key)
        if first.answer is not None:
            self._bytes -= len(first.answer[0])
