"""Suggests an offer's `stop_at` from where its past traces landed."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ada_url import URL

from daemon.database.postgres import Connection
from daemon.database.queries import QUERIES
from daemon.web.headers import is_host_in

TRACES_MAX = 100_000
"""At most this many of the newest traces are read."""

TRACES_MIN = 20
"""An offer needs this many traces for a suggestion."""

HOSTS_NAMED_MAX = 5

Registrable = Callable[[str], str | None]
"""The registrable domain of a host (www.shop.co.uk → shop.co.uk); None for a public suffix."""


@dataclass(frozen=True, slots=True)
class Walked:
    """Traces over the same `hosts`, in order, to the host `landing`. None: the URL is neither http nor https.

    fetched: the landing page was fetched, so its host is the last of `hosts`.
    same_page: the URL of the hop before the landing page differs from its URL in http/https and www at most.
    ms, bytes: of the last hop, on average.
    """

    landing: str | None
    hosts: tuple[str | None, ...]
    fetched: bool
    same_page: bool
    traces: int
    ms: float | None
    bytes: float | None


@dataclass(frozen=True, slots=True)
class PastTraces:
    offer_name: str
    stop_at: tuple[str, ...]
    walked: tuple[Walked, ...]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The hosts to add to an offer's `stop_at`, or the reason for none. The savings are per trace."""

    offer: str
    stop_at: tuple[str, ...] | None
    traces: int
    saves_ms: int | None = None
    saves_bytes: int | None = None
    why_not: str | None = None


async def read_past_traces(conn: Connection, days: float, offer_name: str | None) -> list[PastTraces]:
    """The completed traces of the last `days`, by offer name; of one offer, or of all."""
    stops: dict[str, tuple[str, ...]] = {}
    walked = defaultdict[str, list[Walked]](list)
    for row in await conn.fetch(QUERIES["past_traces"], days, TRACES_MAX, offer_name):
        stops[row["offer_name"]] = tuple(row["stop_at"] or ())
        if row["traces"]:
            hosts = tuple(_host(f"http://{place}") for place in (row["places"] or "").split("/") if place)
            figures = (row["fetched"], row["same_page"], row["traces"], row["ms"], row["bytes"])
            walked[row["offer_name"]].append(Walked(_host(row["landing"]), hosts, *figures))
    return [PastTraces(name, stop_at, tuple(walked[name])) for name, stop_at in stops.items()]


async def add_stop_at(conn: Connection, suggestions: Sequence[Suggestion]) -> None:
    """Add the suggested hosts to those that the offers have."""
    for suggestion in suggestions:
        await conn.execute(QUERIES["add_stop_at"], suggestion.offer, suggestion.stop_at)


def suggested(past: PastTraces, days: float, traces_min: int, registrable: Registrable) -> Suggestion:
    """Find hosts at which every past trace would have ended on its landing page, and none before."""
    traces = sum(walked.traces for walked in past.walked)

    def none(why: str) -> Suggestion:
        return Suggestion(past.offer_name, None, traces, why_not=why)

    if traces < traces_min:
        return none(f"{traces} completed traces in {days:g} days: at least {traces_min} are needed")
    landings = Counter[str | None]()
    for walked in past.walked:
        landings[walked.landing] += walked.traces
    hosts = [host for host in landings if host is not None]
    if len(hosts) < len(landings):
        return none(f"{landings[None]} of {traces} traces landed outside http and https")
    sites = Counter[str]()
    for host in hosts:
        sites[registrable(host) or host] += landings[host]
    if len(sites) > 1:
        named = ", ".join(f"{site} ({count})" for site, count in sites.most_common(HOSTS_NAMED_MAX))
        more = "" if len(sites) <= HOSTS_NAMED_MAX else ", …"
        return none(f"its traces landed on {len(sites)} sites: {named}{more}")
    [site] = sites
    if all(is_host_in(host, past.stop_at) for host in hosts):
        return none(f"its stop_at has {' '.join(past.stop_at)} already")
    if all(walked.fetched and len(walked.hosts) < 2 for walked in past.walked):
        return none("its tracking URL is the landing page: there is no hop to save")
    if registrable(site) is None:
        return none(f"{site} is a public suffix: it would stand for every site below it")
    for candidate in ((site,), tuple(sorted(hosts)[: HOSTS_NAMED_MAX + 1])):
        early = sum(walked.traces for walked in past.walked if ends_early(candidate, walked))
        if not early and len(candidate) <= HOSTS_NAMED_MAX:
            return Suggestion(past.offer_name, candidate, traces, *_last_hop(past.walked))
    return none(f"{early} of {traces} traces pass {site} on their way to the landing page: they would end too early")


def ends_early(stop_at: Collection[str], walked: Walked) -> bool:
    """Whether `stop_at` would end the traces before their landing page. The first URL, no redirect, never ends one."""
    end = len(walked.hosts) - 1 if walked.fetched else len(walked.hosts)
    first = next((at for at in range(1, end) if is_host_in(walked.hosts[at] or "", stop_at)), end)
    return first < end - (1 if walked.same_page else 0)


def _host(origin: str | None) -> str | None:
    """The host of an http or https URL, else None."""
    try:
        url = URL(origin or "")
    except ValueError:
        return None
    return url.hostname if url.protocol in ("http:", "https:") else None


def _last_hop(walked: Sequence[Walked]) -> tuple[int | None, int | None]:
    """(ms, bytes) of the last hop, on average over the traces that fetched their landing page."""
    fetched = [w for w in walked if w.fetched]
    return _mean([(w.ms, w.traces) for w in fetched]), _mean([(w.bytes, w.traces) for w in fetched])


def _mean(weighted: Sequence[tuple[float | None, int]]) -> int | None:
    known = [(value, traces) for value, traces in weighted if value is not None]
    return round(sum(v * n for v, n in known) / sum(n for _, n in known)) if known else None
