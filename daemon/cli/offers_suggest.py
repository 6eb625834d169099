"""`tracepool offers suggest`."""

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated

from ada_url import URL, HostType
from cyclopts import Parameter

from daemon.cli.offers import unknown
from daemon.cli.options import AsJSON, ConfigFile
from daemon.cli.output import say, say_json, say_table, shown
from daemon.cli.session import settings_of, work
from daemon.errors import BadInput
from daemon.offers.suggestions import TRACES_MIN, Suggestion, add_stop_at, read_past_traces, suggested

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

DAYS_MAX = 3_650
COLUMNS = ("offer", "stop at", "traces", "saves ms", "saves bytes", "why not")


def suggest(
    *,
    days: Annotated[float, Parameter(metavar="N", help="Go by the traces of so many days.")] = 7,
    offer: Annotated[str | None, Parameter(metavar="NAME", help="For this offer only.")] = None,
    min_traces: Annotated[int, Parameter(metavar="N", help="From how many traces on.")] = TRACES_MIN,
    apply: Annotated[bool, Parameter(negative=(), show_default=False, help="Set what is proposed.")] = False,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Propose where traces may stop early, by where the past ones landed.

    An offer whose completed traces all landed on one site, such as shop.co.uk with
    www.shop.co.uk, may have it in stop_at: a trace then ends at the first redirect
    that points there, without fetching the page. Where the traces passed that site
    on their way, the landing hosts alone are proposed, or nothing; the last column
    says why. What it saves are the last hop's milliseconds and its bytes, received
    and sent, of one trace on average.

    It reads what the daemon keeps (maintenance.retention_days), the newest 100,000
    traces at most. --apply adds the hosts to those that the offer has.

        tracepool offers suggest
        tracepool offers suggest --offer summer-sale --days 1 --json
        tracepool offers suggest --apply
    """
    if not 0 < days <= DAYS_MAX:
        raise BadInput(f"--days must be above 0, up to {DAYS_MAX}, not {days:g}")
    if min_traces < 1:
        raise BadInput(f"--min-traces must be at least 1, not {min_traces}")
    settings = settings_of(config)
    past = work(settings, read_past_traces, days, offer and offer.strip())
    if offer is not None and not past:
        raise unknown(settings, offer)
    found = [suggested(traces, days, min_traces, registrable) for traces in past]
    proposed = [suggestion for suggestion in found if suggestion.stop_at]
    if apply and proposed:
        work(settings, add_stop_at, proposed)
    if as_json:
        say_json([{**asdict(suggestion), "applied": apply and suggestion in proposed} for suggestion in found])
        return
    say_table(COLUMNS, map(_row, found), right=COLUMNS[2:5])
    for suggestion in proposed if apply else ():
        say(f"updated {shown(suggestion.offer)}: stop_at has {' '.join(suggestion.stop_at or ())}")


def registrable(host: str) -> str | None:
    """The host's registrable domain; an address stands for itself."""
    if URL(f"http://{host}/").host_type != HostType.DEFAULT:
        return host
    return _public_suffixes().privatesuffix(host)


@cache
def _public_suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList  # it brings the list along; reading it takes 0.1 s

    return PublicSuffixList()


def _row(suggestion: Suggestion) -> tuple[object, ...]:
    hosts = " ".join(suggestion.stop_at or ())
    saved = (suggestion.saves_ms, suggestion.saves_bytes)
    return (suggestion.offer, hosts, suggestion.traces, *saved, suggestion.why_not)
