"""`tracepool offers add`, `update` and `import`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from daemon.cli.imports import name_of, read_text, refuses_whole
from daemon.cli.offers import OfferName, unknown
from daemon.cli.options import ConfigFile, ImportFile, Strict
from daemon.cli.output import say, shown
from daemon.cli.session import settings_of, work
from daemon.config import Settings
from daemon.database import offers
from daemon.database.offer_rows import offer_fields, read_offers
from daemon.errors import BadInput

Url = Annotated[str, Parameter(metavar="URL", help="Where its chain starts, and a fallback goes.")]
Country = Annotated[str | None, Parameter(metavar="C", help="Whose IPs trace it.")]
Deadline = Annotated[float | None, Parameter(metavar="S", help="A visitor's longest wait in seconds, 1 to 60.")]
UserAgent = Annotated[
    Literal["default", "visitor"] | None,
    Parameter(help="What a trace says it is: trace.user_agent, or what the visitor's browser says."),
]
Notes = Annotated[str | None, Parameter(metavar="TEXT", help="For yourself.")]
AllowPrivate = Annotated[
    bool, Parameter(negative=(), show_default=False, help="Accept a URL on a private or loopback host.")
]
LandingSchemes = Annotated[
    list[str] | None,
    Parameter(
        name="--landing-scheme",
        negative="--no-landing-schemes",
        metavar="NAME",
        help="Where its chain may end beside http and https, such as market or intent. Give it again for another.",
    ),
]
NO_CHANGES = (
    "name what is to change: --url, --country, --deadline, --no-deadline, --active, --inactive, --user-agent, --notes, "
    "--landing-scheme, --no-landing-schemes"
)


def add(
    name: OfferName,
    url: Url,
    /,
    *,
    country: Country = None,
    deadline: Deadline = None,
    user_agent: UserAgent = None,
    notes: Notes = None,
    landing_scheme: LandingSchemes = None,
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

        tracepool offers add summer-sale 'https://ads.example/click?id=7'
        tracepool offers add winter 'https://ads.example/c?w=1' --country uk
        tracepool offers add app 'https://ads.example/a' --landing-scheme market
    """
    settings = settings_of(config)
    fields = {
        "offer_name": name,
        "final_url": url,
        "target_country": country,
        "is_active": not inactive,
        "deadline_s": deadline,
        "user_agent": user_agent,
        "notes": notes,
        "landing_schemes": landing_scheme,
    }
    offer = offer_fields(fields, allow_private=_private_allowed(settings, allow_private))
    if not work(settings, offers.add_offer, offer):
        raise BadInput(f"an offer called {offer.offer_name!r} exists already: use `tracepool offers update`")
    say(f"added {shown(offer.offer_name)}: /track-hit?offer={_in_query(offer.offer_name)}")


def update(
    name: OfferName,
    /,
    *,
    url: Annotated[str | None, Parameter(metavar="URL", help="Another tracking URL.")] = None,
    country: Country = None,
    deadline: Deadline = None,
    no_deadline: Annotated[
        bool, Parameter(negative=(), show_default=False, help="The setting click.deadline_s holds again.")
    ] = False,
    active: Annotated[bool | None, Parameter(negative="--inactive", help="Serve it, or answer 404.")] = None,
    user_agent: UserAgent = None,
    notes: Notes = None,
    landing_scheme: LandingSchemes = None,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> None:
    """Change an offer: only what you name. A running daemon adopts it in a second.

    Clicks that are being traced end by the old values.

    Exit status: 1 where there is no such offer.

        tracepool offers update summer-sale --inactive
        tracepool offers update summer-sale --country uk --deadline 8
    """
    settings = settings_of(config)
    fields = {
        "final_url": url,
        "target_country": country,
        "is_active": active,
        "deadline_s": deadline,
        "user_agent": user_agent,
        "notes": notes,
        "landing_schemes": landing_scheme,
    }
    if not no_deadline and all(value is None for value in fields.values()):
        raise BadInput(NO_CHANGES)
    if no_deadline and deadline is not None:
        raise BadInput("--deadline and --no-deadline contradict each other")
    changes = offer_fields({"offer_name": name, **fields}, allow_private=_private_allowed(settings, allow_private))
    if not work(settings, offers.update_offer, changes, not no_deadline):
        raise unknown(settings, name)
    say(f"updated {shown(changes.offer_name)}")


def import_file(
    file: ImportFile,
    /,
    *,
    update: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Change offers that exist instead of skipping them.")
    ] = False,
    strict: Strict = False,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> int:
    """Add the offers of a file: CSV with a header, or JSON lines.

    Columns: offer_name and final_url, which are required, and target_country (us),
    is_active (true), deadline_s, user_agent (default or visitor), notes, and
    landing_schemes (with blanks between them). An offer that exists is skipped and
    counted, or with --update given the file's values.

    A bad row is told on standard error with its line and its reason; the others
    go in, all together or, when something fails, none.

    Exit status: 0 every row was good, 1 some were refused (with --strict then
    nothing went in), 2 the file cannot be read.

        tracepool offers import offers.csv
        tracepool offers import --update - < offers.jsonl
    """
    settings = settings_of(config)
    text = read_text(file)
    try:
        read = read_offers(text, allow_private=_private_allowed(settings, allow_private))
    except BadInput as e:
        raise BadInput(f"{name_of(file)}: {e}") from None
    if refuses_whole(file, read, strict):
        return 1
    stored = work(settings, offers.add_offers, read.rows, update)
    changed = f"updated {stored.updated}, " if update else ""
    say(f"added {stored.added}, {changed}skipped {stored.skipped} (already there), refused {len(read.refused)}")
    return 1 if read.refused else 0


def _private_allowed(settings: Settings, asked: bool) -> bool:
    return asked or settings.trace.allow_private


def _in_query(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
