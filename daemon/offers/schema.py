"""An offer's settings: each is declared once, as a field of `OfferFields` with its `Setting`. Pure.

SQL statements, imports, command options, API models and the cache file derive from these declarations. To add a
setting: a field here; a migration with the column and its constraint; a field of the same name in `Offer` if clicks
need the setting; a line in README.md and one in the help of `tracepool offers import`. The tests of this file fail with
the name of the setting if one of these is missing.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from daemon.countries import odd_countries
from daemon.database.records import Columns, Import, import_rows
from daemon.errors import BadInput, FieldsRefused
from daemon.offers import bodies, readers, values
from daemon.offers.country_rules import check_country_urls, with_first
from daemon.offers.macro_forms import meanings_in

T = TypeVar("T")

SQL_TYPES = {str: "text", bool: "boolean", float: "double precision", list[str]: "text[]"}


@dataclass(frozen=True, slots=True)
class Option:
    """An option of `tracepool offers add` and `update`. `means` converts the option's value to the setting's value."""

    name: str
    help: str
    type: Any = list[str]
    metavar: str | None = None
    negative: str | tuple[()] = ()
    means: Callable[[Any], object] = lambda given: given

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The declaration of a column of `offers`.

    body, stored: the type in an API request and in an API answer.
    read: reads the value that an operator gives, such as `example` in a CSV file.
    default: the value of a new row; None: null.
    empty: the meaning of null in a request, if it is not `default`.
    check: the name of the constraint on the values.
    live: checks the column, or each item of a list, for clicks. None: clicks do not need the column.
    about: a sentence for a form, if that of the first option does not do.
    """

    body: Any
    stored: Any
    read: readers.Reader
    example: str
    default: object = None
    empty: str | None = None
    check: str | None = None
    live: Callable[[object], object] | None = None
    options: tuple[Option, ...] = ()
    about: str = ""

    @property
    def help(self) -> str:
        """A sentence for a form."""
        return self.about or self.options[0].help.removesuffix(" Repeatable.")

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that the setting may have, if it is one of a few."""
        return get_args(self.body) if get_origin(self.body) is Literal else ()

    @property
    def sql(self) -> str:
        """The column's type in PostgreSQL."""
        return next((sql for kind, sql in SQL_TYPES.items() if self.stored in (kind, kind | None)), "jsonb")

    @property
    def unset(self) -> object:
        """The meaning of null in a request."""
        return self.empty if self.default is None else self.default


# fmt: off
@dataclass(frozen=True, slots=True)
class OfferFields:
    """Checked values of an offer. None: not given, so a new offer gets the default and an existing one keeps its value.

    `param_filter`, `rename`, `tracking_urls` and `country_urls` are JSON text. An empty JSON text, `stop_at` or
    `countries` clears the column. `target_country` is the first of `countries`.
    """

    offer_name: Annotated[str, Setting(
        body=bodies.Word, stored=str, read=readers.text(values.NAME_CHARACTERS_MAX), example="summer-sale",
        check="offers_offer_name_check", live=str, about="As in /track-hit?offer=NAME.",
    )]
    final_url: Annotated[str | None, Setting(
        body=bodies.Url, stored=str, read=readers.url, example="https://ads.example/click?id=7", live=str,
        about="Where the chain starts and a fallback goes; with macros such as {gclid}.",
    )] = None
    target_country: Annotated[str | None, Setting(
        body=bodies.Country, stored=str, read=readers.country, example="uk", default="us", live=str,
    )] = None
    is_active: Annotated[bool | None, Setting(
        body=bodies.Flag, stored=bool, read=readers.truth, example="false", default=True, live=bool,
        about="Serve it; an inactive offer is paused.",
    )] = None
    deadline_s: Annotated[float | None, Setting(
        body=bodies.Deadline, stored=float | None, read=readers.deadline, example="8",
        check="offers_deadline_s_check", live=values.deadline_in,
        options=(Option("deadline", "A visitor's longest wait in seconds, "
                        f"{values.DEADLINE_MIN_S:g} to {values.DEADLINE_MAX_S:g}.", float, "S"),),
    )] = None
    user_agent: Annotated[str | None, Setting(
        body=values.UserAgent, stored=str, read=readers.word(values.user_agent_in), example="visitor",
        default="default", check="offers_user_agent_check", live=values.user_agent_in,
        options=(Option("user_agent", "A trace's User-Agent: as trace.user_agent, or the visitor's.",
                        values.UserAgent),),
    )] = None
    notes: Annotated[str | None, Setting(
        body=bodies.Notes, stored=str | None, read=readers.text(bodies.NOTES_CHARACTERS_MAX, blank=True),
        example="for June", empty="", options=(Option("notes", "Notes for yourself.", str, "TEXT"),),
    )] = None
    landing_schemes: Annotated[tuple[str, ...] | None, Setting(
        body=bodies.Schemes, stored=list[str], read=readers.schemes, example="market intent", default=(),
        live=values.scheme_in,
        options=(Option("landing_scheme", "Where its chain may end beside http and https, such as market or intent."
                        " Repeatable.", metavar="NAME", negative="--no-landing-schemes"),),
    )] = None
    stop_at: Annotated[tuple[str, ...] | None, Setting(
        body=bodies.Hosts, stored=list[str] | None, read=readers.hosts, example="shop.example other.example",
        check="offers_stop_at_holds_hosts_without_scheme_port_or_path", live=values.host_in,
        options=(Option("stop_at", "A trace ends at the first redirect to this host or one below it, unfetched."
                        " Repeatable.", metavar="HOST", negative="--no-stop-at"),),
    )] = None
    param_filter: Annotated[str | None, Setting(
        body=bodies.Filter, stored=dict[str, list[str]] | None, read=readers.param_filter, example="keep gclid wbraid",
        check="offers_param_filter_is_keep_or_drop_with_a_list_of_names", live=values.param_filter_in,
        about="Keep or drop parameters of these names on the landing URL.",
        options=(
            Option("keep", "Add only parameters of this name to the landing URL. Repeatable.", metavar="NAME",
                   means=lambda names: {"keep": names}),
            Option("drop", "Add all but parameters of this name to it. Repeatable.", metavar="NAME",
                   means=lambda names: {"drop": names}),
            Option("no_filter", "Add every parameter, whatever --keep or --drop said.", bool,
                   means=lambda yes: {} if yes else None),
        ),
    )] = None
    rename: Annotated[str | None, Setting(
        body=bodies.Renamed, stored=dict[str, str] | None, read=readers.rename, example="gclid=sub1 wbraid=sub2",
        check="offers_rename_maps_names_to_names", live=values.rename_in,
        options=(Option("rename", "Add a parameter under another name. Repeatable.", metavar="FROM=TO",
                        negative="--no-rename"),),
    )] = None
    tracking_urls: Annotated[str | None, Setting(
        body=bodies.Shares, stored=list[values.StoredShare] | None, read=readers.tracking_urls,
        example="3:https://ads.example/a 1:https://ads.example/b",
        check="offers_tracking_urls_is_a_list_of_url_and_weight", live=values.share_in,
        options=(Option("tracking_url", "These share its clicks by their weights, instead of its URL. Repeatable.",
                        metavar="[WEIGHT:]URL", negative="--no-tracking-urls"),),
    )] = None
    trace_backend: Annotated[str | None, Setting(
        body=values.Backend, stored=str, read=readers.word(values.backend_in), example="local", default="default",
        check="offers_trace_backend_is_default_local_or_service", live=values.own_backend_in,
        options=(Option("trace_backend", "The backend that traces it: as trace.backend, or this.", values.Backend),),
    )] = None
    tracer: Annotated[str | None, Setting(
        body=values.Tracer, stored=str, read=readers.word(values.tracer_in), example="browser", default="default",
        check="offers_tracer_is_default_http_auto_or_browser", live=values.own_tracer_in,
        options=(Option("tracer", "How it is traced: as trace.tracer, or this.", values.Tracer),),
    )] = None
    mode: Annotated[str | None, Setting(
        body=values.Mode, stored=str, read=readers.word(values.mode_in), example="background", default="wait",
        check="offers_mode_is_wait_or_background", live=values.mode_in,
        options=(Option("mode", "wait: a visitor gets the landing page. background: is answered at once, and the trace"
                        " follows, as for parallel tracking.", values.Mode),),
    )] = None
    fallback_url: Annotated[str | None, Setting(
        body=bodies.Url, stored=str | None, read=readers.url_or_blank, example="https://shop.example/?from={offer}",
        check="offers_fallback_url_is_http_or_https", live=values.fallback_url_in,
        options=(
            Option("fallback_url", "Where its clicks go while it is paused or its URL is unusable.", str, "URL"),
            Option("no_fallback_url", "Send them to click.fallback_url, or answer 404.", bool,
                   means=lambda yes: "" if yes else None),
        ),
    )] = None
    paused_to: Annotated[str | None, Setting(
        body=bodies.Word, stored=str | None, read=readers.other_offer, example="winter-sale",
        check="offers_paused_to_is_another_offer", live=values.paused_to_in,
        options=(
            Option("paused_to", "The offer that takes its clicks while it is paused.", str, "NAME"),
            Option("no_paused_to", "No offer takes them.", bool, means=lambda yes: "" if yes else None),
        ),
    )] = None
    click_ids: Annotated[tuple[str, ...] | None, Setting(
        body=bodies.Names, stored=list[str] | None, read=readers.click_ids, example="clickid subid",
        check="offers_click_ids_holds_names", live=values.click_id_in,
        options=(Option("click_id", "A parameter that identifies a click, instead of gclid, fbclid, ... Repeatable.",
                        metavar="NAME", negative="--no-click-ids"),),
    )] = None
    countries: Annotated[tuple[str, ...] | None, Setting(
        body=bodies.Countries, stored=list[str] | None, read=readers.countries, example="de at",
        check="offers_countries_holds_codes", live=values.country_item_in,
        options=(Option("country", "A country whose IPs trace it; the first one is for visitors of all others."
                        " Repeatable.", metavar="C"),),
    )] = None
    country_urls: Annotated[str | None, Setting(
        body=bodies.CountryShares, stored=dict[str, list[values.StoredShare]] | None, read=readers.country_urls,
        example="de:https://ads.example/de at:3:https://ads.example/at",
        check="offers_country_urls_maps_countries_to_urls_and_weights", live=values.country_urls_in,
        options=(Option("country_url", "The clicks of this country start here, instead of at its URL. Repeatable.",
                        metavar="C:[WEIGHT:]URL", negative="--no-country-urls"),),
    )] = None
    country_param: Annotated[str | None, Setting(
        body=bodies.Word, stored=str | None, read=readers.country_param, example="geo",
        check="offers_country_param_is_a_name", live=values.country_param_in,
        options=(
            Option("country_param", "The parameter with the visitor's country, instead of click.country_param.", str,
                   "NAME"),
            Option("no_country_param", "Use click.country_param again.", bool, means=lambda yes: "" if yes else None),
        ),
    )] = None
# fmt: on


SETTINGS: Mapping[str, Setting] = {
    column: hint.__metadata__[0] for column, hint in get_type_hints(OfferFields, include_extras=True).items()
}
LIVE = tuple(column for column, setting in SETTINGS.items() if setting.live)
"""The columns that clicks need."""

JSON_COLUMNS = tuple(column for column, setting in SETTINGS.items() if setting.sql == "jsonb")


def with_fields(types: Mapping[str, Any], *, optional: bool = False) -> Callable[[type[T]], type[T]]:
    """Return a decorator that puts these fields before a dataclass's own. `optional`: each is None by default."""

    def add(cls: type[T]) -> type[T]:
        cls.__annotations__ = {**types, **cls.__annotations__}
        for name in types if optional else ():
            setattr(cls, name, None)
        return cls

    return add


def offer_fields(given: Mapping[str, object], *, allow_private: bool) -> OfferFields:
    """Check all columns of an offer. Raises FieldsRefused, which has each wrong column with the fault."""
    if given.get("offer_name") is None:
        raise BadInput("offer_name is missing", field="offer_name")
    read: dict[str, Any] = {}
    errors: list[tuple[str, str]] = []
    for column, setting in SETTINGS.items():
        try:
            read[column] = setting.read(given, column, allow_private)
        except BadInput as e:
            errors.append((column, str(e)))
    if errors:
        raise FieldsRefused(errors)
    if read["countries"]:
        read |= with_first(read["countries"], read["target_country"])
    offer = OfferFields(**read)
    if offer.target_country is not None:
        check_country_urls(json.loads(offer.country_urls or "{}"), [offer.target_country, *(offer.countries or ())])
    return offer


def new_offer(given: Mapping[str, object], *, allow_private: bool) -> OfferFields:
    """As `offer_fields`, for a new offer: without a final_url, the first of the tracking_urls serves as one."""
    offer = offer_fields(given, allow_private=allow_private)
    if offer.final_url is not None:
        return offer
    if not offer.tracking_urls:
        raise BadInput("final_url is missing: say where its chain starts, there or in tracking_urls", field="final_url")
    return offer_fields({**given, "final_url": urls_of(offer)[0]}, allow_private=allow_private)


def urls_of(offer: OfferFields) -> list[str]:
    """The tracking URLs that share the offer's clicks."""
    return [share["url"] for share in json.loads(offer.tracking_urls or "[]")]


def countries_of(offer: OfferFields) -> list[str]:
    """The countries that are given, the first one first."""
    return list(offer.countries or ([offer.target_country] if offer.target_country else ()))


def country_urls_of(offer: OfferFields) -> list[str]:
    """The tracking URLs for single countries."""
    return [share["url"] for shares in json.loads(offer.country_urls or "{}").values() for share in shares]


def read_offers(text: str, *, allow_private: bool) -> Import[OfferFields]:
    """The offers of a file. Raises BadInput if the file as a whole cannot be read."""
    columns = Columns(tuple(SETTINGS), ("offer_name", "final_url"))
    return import_rows(text, columns, lambda given: offer_fields(given, allow_private=allow_private))


def warnings_of(offers: Iterable[OfferFields]) -> Iterator[str]:
    """A line for each warning about macros and countries, with the first offer that it is about."""
    names: dict[str, list[str]] = {}
    for offer in offers:
        given = {**asdict(offer), "tracking_urls": urls_of(offer), "country_urls": country_urls_of(offer)}
        found = [meaning.sentence for meaning in meanings_in(given) if meaning.warns]
        for sentence in [*found, *odd_countries(countries_of(offer))]:
            names.setdefault(sentence, []).append(offer.offer_name)
    for sentence, [first, *others] in names.items():
        more = f" and {len(others)} more" if others else ""
        yield f"offer {first!r}{more}: {sentence}"
