"""A redirect's URL, and an offer's rules for the parameters added to it: which ones, and under which names. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from daemon.web.query import Param, with_params
from daemon.web.urls import http_url


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


def landing_location(final_url: str, schemes: Collection[str], params: Sequence[Param]) -> str:
    """A trace's final URL with the click's parameters. `schemes`: allowed beside http and https.

    Raises BadInput if the URL has another scheme or a browser would not accept it.
    """
    is_allowed = final_url.partition(":")[0].lower() in schemes
    return with_params(final_url if is_allowed else http_url(final_url)[0], params)


def fallback_location(tracking_url: str, params: Sequence[Param]) -> str:
    """The tracking URL with the click's parameters. Raises BadInput as `http_url` does."""
    return with_params(http_url(tracking_url)[0], params)


def _renamed(param: Param, name: str) -> Param:
    """The parameter under another name; its value stays byte for byte."""
    _, equals, value = param.raw.partition("=")
    return Param(name, param.value, f"{quote(name, safe='', errors='replace')}{equals}{value}")
