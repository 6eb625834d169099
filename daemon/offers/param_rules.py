"""An offer's rules for the parameters that a redirect adds: which ones, and under which names. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from daemon.web.query import Param


@dataclass(frozen=True, slots=True)
class ParamRules:
    """The rules, by inbound names: `keep` or `drop` (for a landing URL only), then `rename` (old name → new name).

    A fallback keeps every parameter: the chain behind the tracking URL may need any of them. A renamed parameter
    replaces an inbound one that has the new name already. Parameters with the same new name all stay, in their order.
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
        new_names = {self.rename[param.name] for param in params if param.name in self.rename}
        return [
            _renamed(param, self.rename[param.name]) if param.name in self.rename else param
            for param in params
            if param.name in self.rename or param.name not in new_names
        ]


def _renamed(param: Param, name: str) -> Param:
    """The parameter under another name; its value stays byte for byte."""
    _, equals, value = param.raw.partition("=")
    return Param(name, param.value, f"{quote(name, safe='', errors='replace')}{equals}{value}")
