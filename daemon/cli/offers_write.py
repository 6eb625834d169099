"""`tracepool offers add`, `update` and `import`."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Annotated
from urllib.parse import quote

from cyclopts import Parameter

from daemon.cli.import_file import REFUSED_SHOWN_MAX, ImportFile, Strict, imported, name_of
from daemon.cli.offers import OfferName, unknown
from daemon.cli.output import say, warn
from daemon.cli.session import ConfigFile, change, flag, settings_of
from daemon.control.actions import Action, changed_values
from daemon.countries import odd_countries
from daemon.errors import BadInput
from daemon.offers import store
from daemon.offers.macro_forms import meanings_in
from daemon.offers.schema import (
    SETTINGS,
    OfferFields,
    Option,
    countries_of,
    new_offer,
    offer_fields,
    read_offers,
    urls_of,
    warnings_of,
    with_fields,
)
from daemon.offers.store import StoredOffer

AllowPrivate = Annotated[bool, flag("Accept URLs and hosts that are private or loopback.")]
NO_URL = "give the URL where the chain starts: URL, or --tracking-url. Try: tracepool offers add --help"
OPTIONS = [option for setting in SETTINGS.values() for option in setting.options]
NO_CHANGES = "say what to change: --url, " + ", ".join(
    flag for option in OPTIONS for flag in (option.flag, option.negative) if flag
).replace("--deadline", "--deadline, --no-deadline, --active, --inactive")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
@with_fields(
    {o.name: Annotated[o.type | None, Parameter(metavar=o.metavar, negative=o.negative, help=o.help)] for o in OPTIONS},
    optional=True,
)
class OfferOptions:
    """The options for an offer, beside its name and URL. None: not given. An empty list removes a setting."""

    def columns(self) -> dict[str, object]:
        """Values by column, as `offer_fields` reads them. Raises BadInput if options exclude each other."""
        return {column: self._value(setting.options) for column, setting in SETTINGS.items() if setting.options}

    def _value(self, options: tuple[Option, ...]) -> object:
        given = [option for option in options if getattr(self, option.name) is not None]
        if len(given) > 1:
            *others, last = [option.flag for option in options]
            raise BadInput(f"{', '.join(others)} and {last} exclude each other: give one of them")
        return given[0].means(getattr(self, given[0].name)) if given else None


def add(
    name: OfferName,
    url: Annotated[str | None, Parameter(metavar="URL", help="Where the chain starts and a fallback goes.")] = None,
    /,
    *,
    options: OfferOptions | None = None,
    inactive: Annotated[bool, flag("Pause it for now.")] = False,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> None:
    r"""Add an offer. A running daemon serves it within a second.

    URL is the tracking URL: absolute, http or https, on a public host unless
    --allow-private or the setting trace.allow_private is given. Quote it for the
    shell. The default --country is us; the default --deadline is click.deadline_s.

    Macros: behind the host, URL may contain {gclid} for the click's parameter of
    that name (the first, if it is repeated), {request_id} and {offer}. The value is
    percent-encoded; without a value the macro is replaced by nothing. Macros use
    the parameters as they arrived: --keep, --drop and --rename do not change them.
    %7Bgclid%7D, {{gclid}} and ${gclid} are the same macro, and so is any upper and
    lower case. What becomes of each is printed; other notations, such as [gclid],
    are sent as they stand.

    Parameters: those of the click are added to the URL that the visitor is sent to
    and replace parameters of the same name there. --keep and --drop choose among
    them by the names under which they arrived, for the landing URL only: a fallback
    gets all. --rename then renames them, for both; a parameter that arrived under
    the new name is left out.

    Paused: the clicks of an inactive offer go to the offer of --paused-to, else to
    --fallback-url, else to click.fallback_url, else they get 404. Macros work there
    too.

    Tracking URLs: the URLs of --tracking-url share the clicks by weight. URL then
    gets no clicks until --no-tracking-urls, and need not be given.

    Countries: a code of ISO 3166 such as de, or an English name. A click of an
    offer with several is traced in its visitor's country: by --country-param, else
    click.country_param, click.country_header or click.country_file. The first
    --country is for visitors of all others. {country} is the chosen one's code.

        tracepool offers add summer-sale 'https://ads.example/click?id=7'
        tracepool offers add winter 'https://ads.example/c?w={gclid}' --country uk
        tracepool offers add dach 'https://ads.example/d' --country de,at \
            --country-url at:https://ads.example/at --country-param geo
        tracepool offers add app 'https://ads.example/a' --landing-scheme market
        tracepool offers add shoes 'https://ads.example/s' --stop-at shop.example \
            --keep gclid --rename gclid=sub1
        tracepool offers add split --tracking-url 3:https://ads.example/a \
            --tracking-url 1:https://ads.example/b
    """
    settings = settings_of(config)
    columns = (options or OfferOptions()).columns()
    fields = {"offer_name": name, "final_url": url, "is_active": not inactive, **columns}
    allow_private = allow_private or settings.trace.allow_private
    if url is None and not fields["tracking_urls"]:
        raise BadInput(NO_URL)
    offer = new_offer(fields, allow_private=allow_private)
    if not change(
        settings, lambda done: Action("create offer", offer.offer_name) if done else None, store.add_offer, offer
    ):
        raise BadInput(f"an offer called {offer.offer_name!r} exists already: use `tracepool offers update`")
    say(f"added {offer.offer_name}: /track-hit?offer={quote(offer.offer_name, safe='')}")
    _say_macros(fields)
    _warn_of_countries(offer)
    if url is not None and offer.tracking_urls and offer.final_url not in urls_of(offer):
        say(f"{offer.final_url} gets no clicks: the tracking URLs share them")


def _warn_of_countries(offer: OfferFields) -> None:
    for line in odd_countries(countries_of(offer)):
        warn(f"tracepool: {line}")


def _say_macros(fields: Mapping[str, object], own: Iterable[str] | None = None) -> None:
    """What becomes of each macro in the URLs as they were given."""
    for meaning in meanings_in(fields, own):
        if meaning.warns:
            warn(f"tracepool: {meaning.sentence}")
        else:
            say(meaning.sentence)


def update(
    name: OfferName,
    /,
    *,
    url: Annotated[str | None, Parameter(metavar="URL", help="The new tracking URL.")] = None,
    options: OfferOptions | None = None,
    no_deadline: Annotated[bool, flag("Use the setting click.deadline_s again.")] = False,
    active: Annotated[bool | None, Parameter(negative="--inactive", help="Serve it, or pause it.")] = None,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> None:
    """Change what you name of an offer. A running daemon uses it within a second.

    An option that can be given more than once replaces all earlier values. The
    options are described in: tracepool offers add --help. Clicks that are being
    traced keep the old values.

    Exit status: 1 if there is no such offer.

        tracepool offers update summer-sale --inactive --paused-to winter-sale
        tracepool offers update summer-sale --country uk --deadline 8
        tracepool offers update summer-sale --drop fbclid --no-stop-at
    """
    settings = settings_of(config)
    fields = {"final_url": url, "is_active": active, **(options or OfferOptions()).columns()}
    if not no_deadline and all(value is None for value in fields.values()):
        raise BadInput(NO_CHANGES)
    if no_deadline and fields["deadline_s"] is not None:
        raise BadInput("--deadline and --no-deadline exclude each other: give one of them")
    changes = offer_fields({"offer_name": name, **fields}, allow_private=allow_private or settings.trace.allow_private)
    rows = change(settings, _updated, store.changed_offer, changes, ["deadline_s"] if no_deadline else [])
    if not rows:
        raise unknown(settings, name)
    say(f"updated {changes.offer_name}")
    _say_macros(fields, asdict(rows[1])["click_ids"] or ())
    _warn_of_countries(changes)


def _updated(rows: tuple[StoredOffer, StoredOffer] | None) -> Action | None:
    if rows is None:
        return None
    before, after = map(asdict, rows)
    return Action("change offer", after["offer_name"], {"changed": changed_values(before, after)})


def import_file(
    file: ImportFile,
    /,
    *,
    update: Annotated[bool, flag("Change offers that exist instead of skipping them.")] = False,
    strict: Strict = False,
    allow_private: AllowPrivate = False,
    config: ConfigFile = None,
) -> int:
    """Add the offers of a file: CSV with a header, or JSON lines.

    Columns: offer_name and final_url, which are required, and

        target_country (us), is_active (true), deadline_s, notes, fallback_url,
        paused_to        winter-sale
        countries        de at
        country_urls     de:https://ads.example/de at:3:https://ads.example/at
        country_param    geo
        user_agent       default or visitor
        trace_backend    default, local or service
        tracer           default, http, auto or browser
        mode             wait or background
        landing_schemes  market intent
        stop_at          shop.example other.example
        param_filter     keep gclid wbraid, or: drop fbclid
        rename           gclid=sub1 wbraid=sub2
        click_ids        clickid subid
        tracking_urls    3:https://ads.example/a 1:https://ads.example/b

    In JSON lines countries, country_urls and the last six may be lists and
    objects, as `tracepool offers list --json` shows them; an empty one removes
    what the offer has. target_country is the first of countries. An offer that
    exists is skipped and counted, or with --update changed to the file's values.

    Each bad row is reported on standard error with its line and the reason. The
    good rows are added together: if adding fails, none is added.

    Exit status: 0 all rows were good, 1 some were refused (with --strict nothing
    is added then), 2 the file cannot be read.

        tracepool offers import offers.csv
        tracepool offers import --update - < offers.jsonl
    """
    settings = settings_of(config)
    allow_private = allow_private or settings.trace.allow_private
    read = imported(file, partial(read_offers, allow_private=allow_private), strict=strict)
    if read is None:
        return 1
    refused = len(read.refused)
    subject = read.rows[0].offer_name if len(read.rows) == 1 else ""
    stored = change(
        settings,
        lambda done: Action("import offers", subject, {**asdict(done), "refused": refused}),
        store.add_offers,
        *(read.rows, update),
    )
    for line in islice(warnings_of(read.rows), REFUSED_SHOWN_MAX):
        warn(f"tracepool: {name_of(file)}: {line}")
    changed = f"updated {stored.updated}, " if update else ""
    say(f"added {stored.added}, {changed}skipped {stored.skipped} (already there), refused {refused}")
    return 1 if refused else 0
