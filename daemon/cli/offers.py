"""`tracepool offers list`, `show` and `remove`."""

import difflib
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter

from daemon.cli.options import AsJSON, ConfigFile
from daemon.cli.output import say, say_json, say_rows_json, say_table, shown
from daemon.cli.session import settings_of, work
from daemon.errors import TheirFault
from daemon.offers import store
from daemon.offers.store import StoredOffer
from daemon.settings.model import Settings

OfferName = Annotated[str, Parameter(metavar="NAME", help="As in ?offer=NAME.")]
COLUMNS = ("offer", "country", "active", "deadline_s", "agent", "tracking URL", "stop at", "parameters", "backend")


def list_offers(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """Show all offers, by name.

    An empty deadline: the setting click.deadline_s holds.

        tracepool offers list
        tracepool offers list --json
    """
    found = work(settings_of(config), store.list_offers)
    if as_json:
        say_rows_json(found)
        return
    say_table(COLUMNS, map(_row, found), right=("deadline_s",))


def show(name: OfferName, /, *, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """Show one offer with all that is known of it.

    Exit status: 1 where there is no such offer.

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
    parameters = "; ".join(text for text in (of["param_filter"], of["rename"]) if text)
    backend = "" if of["trace_backend"] == "default" else of["trace_backend"]
    return (
        *(of["offer_name"], of["target_country"], of["is_active"], of["deadline_s"], of["user_agent"]),
        *(of["tracking_urls"] or of["final_url"], of["stop_at"], parameters, backend),
    )


def _words(value: Any) -> Any:
    """A list or an object of a column as an import reads it; other values as they are."""
    if isinstance(value, list):
        return " ".join(item if isinstance(item, str) else f"{item.get('weight', 1)}:{item['url']}" for item in value)
    if isinstance(value, dict):
        return " ".join(f"{k}={v}" if isinstance(v, str) else f"{k} {' '.join(v)}" for k, v in value.items())
    return value


def remove(name: OfferName, /, *, config: ConfigFile = None) -> None:
    """Remove an offer: its clicks get 404 from now on. Its hits and traces stay.

    To pause it instead: tracepool offers update NAME --inactive

    Exit status: 1 where there is no such offer.

        tracepool offers remove summer-sale
    """
    settings = settings_of(config)
    if not work(settings, store.remove_offer, name.strip()):
        raise unknown(settings, name)
    say(f"removed {shown(name.strip())}")


def unknown(settings: Settings, name: str) -> TheirFault:
    """That there is no such offer, and which one may have been meant."""
    names = [asdict(offer)["offer_name"] for offer in work(settings, store.list_offers)]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`tracepool offers list` shows all"
    return TheirFault(f"no offer is called {name!r}: {hint}")
