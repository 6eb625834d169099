"""`tracepool offers list`, `show`, `remove` and `suggest`."""

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from ada_url import URL, HostType
from cyclopts import Parameter

from daemon.cli.output import say, say_json, say_rows_json, say_table, shown
from daemon.cli.session import AsJSON, ConfigFile, change, flag, settings_of, work
from daemon.control.actions import Action
from daemon.errors import BadInput, TheirFault
from daemon.offers import store
from daemon.offers.schema import SETTINGS
from daemon.offers.store import StoredOffer
from daemon.offers.suggestions import TRACES_MIN, Suggestion, add_stop_at, read_past_traces, suggested
from daemon.offers.values import no_offer
from daemon.printable import word
from daemon.settings.model import Settings

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

OfferName = Annotated[str, Parameter(metavar="NAME", help="As in ?offer=NAME.")]
DAYS_MAX = 3_650
TRACED = ("trace_backend", "tracer", "mode")
COLUMNS = ("offer", "country", "active", "deadline_s", "agent", "tracking URL", "stop at", "parameters", "traced")
SUGGESTION_COLUMNS = ("offer", "stop at", "traces", "saves ms", "saves bytes", "why not")


def list_offers(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """Show all offers, by name.

    For an offer without a deadline, the setting click.deadline_s applies.

        tracepool offers list
        tracepool offers list --json
    """
    found = work(settings_of(config), store.list_offers)
    if as_json:
        say_rows_json(found)
        return
    say_table(COLUMNS, map(_row, found), right=("deadline_s",))


def show(name: OfferName, /, *, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """Show one offer with all its columns.

    Exit status: 1 if there is no such offer.

        tracepool offers show summer-sale
    """
    settings = settings_of(config)
    found = work(settings, store.find_offer, name.strip())
    if found is None:
        raise unknown(settings, name)
    values = asdict(found)
    if as_json:
        say_json(values)
        return
    for column, value in values.items():
        say(f"{column:<15}  {shown(_words(value))}".rstrip())


def _row(offer: StoredOffer) -> tuple[object, ...]:
    of = {column: _words(value) for column, value in asdict(offer).items()}
    country = of["countries"] or of["target_country"]
    urls = " ".join(text for text in (of["tracking_urls"] or of["final_url"], of["country_urls"]) if text)
    parameters = "; ".join(text for text in (of["param_filter"], of["rename"]) if text)
    traced = " ".join(of[column] for column in TRACED if of[column] != SETTINGS[column].default)
    return (
        *(of["offer_name"], country, of["is_active"], of["deadline_s"], of["user_agent"]),
        *(urls, of["stop_at"], parameters, traced),
    )


def _words(value: Any) -> Any:
    """A list or an object of a column in the notation of an import; any other value unchanged."""
    if isinstance(value, list):
        return " ".join(map(_item, value))
    if isinstance(value, dict):
        return " ".join(_pair(key, of) for key, of in value.items())
    return value


def _item(item: Any) -> str:
    return word(item) if isinstance(item, str) else f"{item.get('weight', 1)}:{item['url']}"


def _pair(key: str, value: Any) -> str:
    """`gclid=sub1` of rename, `keep gclid wbraid` of param_filter, `de:1:https://…` of country_urls."""
    if isinstance(value, str):
        return f"{word(key)}={word(value)}"
    if any(isinstance(item, dict) for item in value):
        return " ".join(f"{word(key)}:{_item(item)}" for item in value)
    return f"{key} {' '.join(map(word, value))}"


def remove(name: OfferName, /, *, config: ConfigFile = None) -> None:
    """Remove an offer. Its clicks get 404 from now on; its hits and traces stay.

    To pause an offer instead: tracepool offers update NAME --inactive

    Exit status: 1 if there is no such offer.

        tracepool offers remove summer-sale
    """
    settings = settings_of(config)
    gone = Action("delete offer", name.strip())
    if not change(settings, lambda done: gone if done else None, store.remove_offer, name.strip()):
        raise unknown(settings, name)
    say(f"removed {name.strip()}")


def unknown(settings: Settings, name: str) -> TheirFault:
    """The error for an offer that does not exist, with the offer of the most similar name."""
    names = [asdict(offer)["offer_name"] for offer in work(settings, store.list_offers)]
    return TheirFault(no_offer(name, names, otherwise=": `tracepool offers list` shows all"))


def suggest(
    *,
    days: Annotated[float, Parameter(metavar="N", help="Use the traces of the last N days.")] = 7,
    offer: Annotated[str | None, Parameter(metavar="NAME", help="Only this offer.")] = None,
    min_traces: Annotated[int, Parameter(metavar="N", help="The fewest traces for a proposal.")] = TRACES_MIN,
    apply: Annotated[bool, flag("Set what is proposed.")] = False,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> None:
    """Propose stop_at for offers, from where their past traces landed.

    If all completed traces of an offer landed on one site, such as shop.co.uk with
    www.shop.co.uk, that site is proposed: a trace then ends at the first redirect
    to it, without fetching the page. If some traces passed that site before they
    landed, only the landing hosts are proposed, or nothing; the last column has the
    reason. What is saved is the time and the bytes, received and sent, of the last
    hop, as an average per trace.

    The newest 100,000 traces at most are read, of those that the daemon keeps
    (retention.traces_days). --apply adds the hosts to the offer's stop_at.

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
        hosts = {suggestion.offer: suggestion.stop_at for suggestion in proposed}
        change(settings, lambda _: Action("apply suggestions", detail={"stop_at": hosts}), add_stop_at, proposed)
    if as_json:
        say_json([{**asdict(suggestion), "applied": apply and suggestion in proposed} for suggestion in found])
        return
    say_table(SUGGESTION_COLUMNS, map(_suggestion_row, found), right=SUGGESTION_COLUMNS[2:5])
    for suggestion in proposed if apply else ():
        say(f"updated {suggestion.offer}: stop_at has {' '.join(suggestion.stop_at or ())}")


def registrable(host: str) -> str | None:
    """The host's registrable domain; an IP address is returned unchanged."""
    if URL(f"http://{host}/").host_type != HostType.DEFAULT:
        return host
    return _public_suffixes().privatesuffix(host)


@cache
def _public_suffixes() -> "PublicSuffixList":
    from publicsuffixlist import PublicSuffixList  # only now: reading its list takes 0.1 s

    return PublicSuffixList()


def _suggestion_row(suggestion: Suggestion) -> tuple[object, ...]:
    hosts = " ".join(suggestion.stop_at or ())
    saved = (suggestion.saves_ms, suggestion.saves_bytes)
    return (suggestion.offer, hosts, suggestion.traces, *saved, suggestion.why_not)
