"""Which of a click's parameters are added to the URL that the visitor is sent to, and under which names. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from daemon.web.query import Param


@dataclass(frozen=True, slots=True)
class ParamRules:
    """An offer's rules, by inbound names: first `keep` or `drop` (at a landing only), then `rename`.

    A fallback gets every parameter: the tracking URL belongs to the ad, and what it leaves out is lost to all. A new
    name is the offer's word: a parameter that arrives under it by itself gives way. Two that get the same name stand
    together, in the order in which they came.
    """

    keep: frozenset[str] | None = None  # None: all
    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = field(default_factory=dict)

    def at_landing(self, params: Sequence[Param]) -> Sequence[Param]:
        if self.keep is not None:
            params = [param for param in params if param.name in self.keep]
        elif self.drop:
            params = [param for param in params if param.name not in self.drop]
        return self.at_fallback(params)

    def at_fallback(self, params: Sequence[Param]) -> Sequence[Param]:
        if not self.rename:
            return params
        given = {self.rename[param.name] for param in params if param.name in self.rename}
        passed = []
        for param in params:
            name = self.rename.get(param.name)
            if name is not None:
                passed.append(_named(name, param))
            elif param.name not in given:
                passed.append(param)
        return passed


def _named(name: str, param: Param) -> Param:
    """The value stays byte for byte."""
    _, equals, value = param.raw.partition("=")
    return Param(name, param.value, f"{quote(name, safe='', errors='replace')}{equals}{value}")
