"""`tracepool offers list`, `show` and `remove`."""

import difflib
from dataclasses import asdict
from typing import Annotated

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
    values["landing_schemes"] = " ".join(found.landing_schemes)
    values.update(_words(found))
    for column, value in values.items():
        say(f"{column:<15}  {shown(value)}".rstrip())


def _row(o: StoredOffer) -> tuple[object, ...]:
    words = _words(o)
    parameters = "; ".join(text for text in (words["param_filter"], words["rename"]) if text)
    urls = words["tracking_urls"] or o.final_url
    backend = "" if o.trace_backend == "default" else o.trace_backend
    return (
        *(o.offer_name, o.target_country, o.is_active, o.deadline_s, o.user_agent, urls),
        *(words["stop_at"], parameters, backend),
    )


def _words(offer: StoredOffer) -> dict[str, str]:
    """The columns that hold more than a word, as an import reads them."""
    return {
        "stop_at": " ".join(offer.stop_at or ()),
        "param_filter": " ".join(f"{does} {' '.join(names)}" for does, names in (offer.param_filter or {}).items()),
        "rename": " ".join(f"{old}={new}" for old, new in (offer.rename or {}).items()),
        "tracking_urls": " ".join(f"{share.get('weight', 1)}:{share['url']}" for share in offer.tracking_urls or ()),
    }


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
    close = difflib.get_close_matches(name, work(settings, store.offer_names), n=1)
    hint = f"did you mean {close[0]!r}?" if close else "`tracepool offers list` shows all"
    return TheirFault(f"no offer is called {name!r}: {hint}")
