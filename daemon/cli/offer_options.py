"""What `tracepool offers add` and `update` may be told of an offer beside its name and its URL."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.errors import BadInput
from daemon.offers.schema import SETTINGS, Option, with_fields


def _typed(option: Option) -> Any:
    about = Parameter(metavar=option.metavar, negative=option.negative, help=option.help)
    return Annotated[option.type | None, about]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
@with_fields({o.name: _typed(o) for setting in SETTINGS.values() for o in setting.options}, optional=True)
class OfferOptions:
    """None: not given. An empty list takes back what an offer has."""

    def columns(self) -> dict[str, object]:
        """As `offer_fields` reads them. Raises BadInput where options contradict each other."""
        return {column: self._value(setting.options) for column, setting in SETTINGS.items() if setting.options}

    def _value(self, options: tuple[Option, ...]) -> object:
        given = [option for option in options if getattr(self, option.name) not in (None, False)]
        if len(given) > 1:
            *others, last = [option.flag for option in options]
            raise BadInput(f"{', '.join(others)} and {last} exclude each other: say one of them")
        return given[0].means(getattr(self, given[0].name)) if given else None


def flags() -> Iterator[str]:
    """Each option as it is written, and after it what takes its setting back."""
    for option in (option for setting in SETTINGS.values() for option in setting.options):
        yield option.flag
        if option.negative:
            yield option.negative
