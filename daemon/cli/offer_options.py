"""What `tracepool offers add` and `update` may be told of an offer beside its name and its URL."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from daemon.errors import BadInput


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class OfferOptions:
    """None: not given. An empty list takes back what an offer has."""

    country: Annotated[str | None, Parameter(metavar="C", help="Whose IPs trace it.")] = None
    deadline: Annotated[float | None, Parameter(metavar="S", help="A visitor's longest wait in seconds, 1 to 60.")] = (
        None
    )
    user_agent: Annotated[
        Literal["default", "visitor"] | None,
        Parameter(help="What a trace says it is: trace.user_agent, or what the visitor's browser says."),
    ] = None
    notes: Annotated[str | None, Parameter(metavar="TEXT", help="For yourself.")] = None
    landing_scheme: Annotated[
        list[str] | None,
        Parameter(
            negative="--no-landing-schemes",
            metavar="NAME",
            help="Where its chain may end beside http and https, such as market or intent. Repeatable.",
        ),
    ] = None
    stop_at: Annotated[
        list[str] | None,
        Parameter(
            negative="--no-stop-at",
            metavar="HOST",
            help="A trace ends at the first redirect to this host or one below it, unfetched. Repeatable.",
        ),
    ] = None
    keep: Annotated[
        list[str] | None,
        Parameter(negative=(), metavar="NAME", help="Add only parameters of this name to the landing URL. Repeatable."),
    ] = None
    drop: Annotated[
        list[str] | None,
        Parameter(negative=(), metavar="NAME", help="Add all but parameters of this name to it. Repeatable."),
    ] = None
    no_filter: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Add every parameter, whatever --keep or --drop said.")
    ] = False
    rename: Annotated[
        list[str] | None,
        Parameter(negative="--no-rename", metavar="FROM=TO", help="Add a parameter under another name. Repeatable."),
    ] = None
    tracking_url: Annotated[
        list[str] | None,
        Parameter(
            negative="--no-tracking-urls",
            metavar="[WEIGHT:]URL",
            help="These share its clicks by their weights, instead of its URL. Repeatable.",
        ),
    ] = None
    trace_backend: Annotated[
        Literal["default", "local", "service"] | None, Parameter(help="Who traces: as trace.backend says, or this.")
    ] = None

    def columns(self) -> dict[str, object]:
        """As offer_rows.offer_fields reads them. Raises BadInput where options contradict each other."""
        filters = [option for option in (self.keep, self.drop, self.no_filter or None) if option is not None]
        if len(filters) > 1:
            raise BadInput("--keep, --drop and --no-filter exclude each other: say one of them")
        param_filter: dict[str, object] | None = {} if self.no_filter else None
        if self.keep is not None or self.drop is not None:
            param_filter = {"drop": self.drop} if self.keep is None else {"keep": self.keep}
        return {
            "target_country": self.country,
            "deadline_s": self.deadline,
            "user_agent": self.user_agent,
            "notes": self.notes,
            "landing_schemes": self.landing_scheme,
            "stop_at": self.stop_at,
            "param_filter": param_filter,
            "rename": self.rename,
            "tracking_urls": self.tracking_url,
            "trace_backend": self.trace_backend,
        }
