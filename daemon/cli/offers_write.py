"""`tracepool offers add` and `update`."""

from typing import Annotated

from cyclopts import Parameter

from daemon.cli.offer_options import OfferOptions, flags
from daemon.cli.offers import OfferName, unknown
from daemon.cli.options import AllowPrivate, ConfigFile
from daemon.cli.output import say, shown
from daemon.cli.session import settings_of, work
from daemon.database import offers
from daemon.errors import BadInput
from daemon.offers.schema import new_offer, offer_fields, urls_of

NO_URL = "say where its chain starts: URL, or --tracking-url. Try: tracepool offers add --help"
NO_CHANGES = "name what is to change: --url, " + ", ".join(flags()).replace(
    "--deadline", "--deadline, --no-deadline, --active, --inactive"
)


def add(
    name: OfferName,
    url: Annotated[str | None, Parameter(metavar="URL", help="Where its chain starts, and a fallback goes.")] = None,
    /,
    *,
    options: OfferOptions | None = None,
    inactive: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Answer its clicks with 404 for now.")
    ] = False,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> None:
    """Add an offer. A running daemon serves it within a second.

    URL is the tracking URL: absolute, http or https, on a public host unless
    --allow-private or the setting trace.allow_private. Quote it for the shell.
    Without --country it is us; without --deadline, click.deadline_s holds.

    Macros: behind the host, URL may say {gclid} for the click's parameter of that
    name (the first, where it came more than once), {request_id} and {offer}. The
    value is percent-encoded; without one, nothing stands there. Macros take the
    parameters as they came, whatever is kept, dropped or renamed.

    Parameters: the click's are added to the URL that the visitor is sent to, each
    in place of one of its name. --keep and --drop choose among them by the names
    they came under, for the landing URL only: a fallback gets all. --rename then
    names them anew, for both; one that came under the new name gives way.

    Tracking URLs: with --tracking-url, those share the clicks by weight, and URL
    serves only once --no-tracking-urls takes them back. It may be left out then.

        tracepool offers add summer-sale 'https://ads.example/click?id=7'
        tracepool offers add winter 'https://ads.example/c?w={gclid}' --country uk
        tracepool offers add app 'https://ads.example/a' --landing-scheme market
        tracepool offers add shoes 'https://ads.example/s' --stop-at shop.example \\
            --keep gclid --rename gclid=sub1
        tracepool offers add split --tracking-url 3:https://ads.example/a \\
            --tracking-url 1:https://ads.example/b
    """
    settings = settings_of(config)
    columns = (options or OfferOptions()).columns()
    fields = {"offer_name": name, "final_url": url, "is_active": not inactive, **columns}
    allow_private = allow_private or settings.trace.allow_private
    if url is None and not fields["tracking_urls"]:
        raise BadInput(NO_URL)
    offer = new_offer(fields, allow_private=allow_private)
    if not work(settings, offers.add_offer, offer):
        raise BadInput(f"an offer called {offer.offer_name!r} exists already: use `tracepool offers update`")
    say(f"added {shown(offer.offer_name)}: /track-hit?offer={_in_query(offer.offer_name)}")
    if url is not None and offer.tracking_urls and offer.final_url not in urls_of(offer):
        say(f"{shown(offer.final_url)} gets none of its clicks: the tracking URLs share them")


def update(
    name: OfferName,
    /,
    *,
    url: Annotated[str | None, Parameter(metavar="URL", help="Another tracking URL.")] = None,
    options: OfferOptions | None = None,
    no_deadline: Annotated[
        bool, Parameter(negative=(), show_default=False, help="The setting click.deadline_s holds again.")
    ] = False,
    active: Annotated[bool | None, Parameter(negative="--inactive", help="Serve it, or answer 404.")] = None,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> None:
    """Change an offer: only what you name. A running daemon adopts it in a second.

    What may be given more than once replaces all that was there. What the options
    do: tracepool offers add --help. Clicks that are being traced end by the old
    values.

    Exit status: 1 where there is no such offer.

        tracepool offers update summer-sale --inactive
        tracepool offers update summer-sale --country uk --deadline 8
        tracepool offers update summer-sale --drop fbclid --no-stop-at
    """
    settings = settings_of(config)
    fields = {"final_url": url, "is_active": active, **(options or OfferOptions()).columns()}
    if not no_deadline and all(value is None for value in fields.values()):
        raise BadInput(NO_CHANGES)
    if no_deadline and fields["deadline_s"] is not None:
        raise BadInput("--deadline and --no-deadline contradict each other")
    changes = offer_fields({"offer_name": name, **fields}, allow_private=allow_private or settings.trace.allow_private)
    if not work(settings, offers.update_offer, changes, ["deadline_s"] if no_deadline else []):
        raise unknown(settings, name)
    say(f"updated {shown(changes.offer_name)}")


def _in_query(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
