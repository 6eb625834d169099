"""Derives advice from the evidence that was last read from the tables and the current figures in memory.

Each round reads the evidence; each WATCH_S the advice is derived anew and its changes are logged.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog
import trio

from daemon.clock import Moment
from daemon.database.postgres import Connection, Database
from daemon.maintenance.advice import advise
from daemon.maintenance.disk import Disk
from daemon.maintenance.evidence import read_active, read_evidence, read_out
from daemon.maintenance.figures import Advice, Evidence, Figures, Hindrance, Severity
from daemon.maintenance.first_run import FirstRun, Installation, first_run
from daemon.maintenance.node_report import NodeReport, counts_of
from daemon.maintenance.provider_figures import refusals, suspects
from daemon.maintenance.tally import LastMinute
from daemon.nodes.cluster import Cluster
from daemon.nodes.figures import Hindered
from daemon.offers.model import Offers
from daemon.offers.store import load_offers
from daemon.pool.messages import Counts
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings

FRESH_S = 1.0  # advice is derived at most once in this time, however often it is requested
WATCH_S = 2.0
OVER_S = 60.0  # advice that is not given for this long is over: figures on a bound do not fill the log
HANDOVER_S = 10.0  # a node that begins to log for all logs what is newer than this

log = structlog.get_logger("daemon.maintenance")

Key = tuple[str, str]
SEVERITIES = list(Severity)


@dataclass(slots=True, eq=False)
class Advisor:
    """Advice for all nodes together. It works without the database; its evidence is then that of the last `refresh`.

    Of several nodes, one logs: that with the lowest id of those that lease and renew.
    """

    database: Database
    live: LiveSettings
    report: NodeReport
    now: Callable[[], Moment]
    offers: Offers = field(default_factory=Offers)
    disk: Callable[[], Disk | None] = lambda: None
    _evidence: Evidence = field(default=Evidence(), init=False)
    _advice: tuple[Advice, ...] = field(default=(), init=False)
    _derived_s: float = field(default=float("-inf"), init=False)
    _logged: dict[Key, Severity] = field(default_factory=dict, init=False)
    _first_s: dict[Key, float] = field(default_factory=dict, init=False)  # when the advice that is given now began
    _last_s: dict[Key, float] = field(default_factory=dict, init=False)  # when logged advice was last given

    async def run(self) -> None:
        """Logs changes until cancelled."""
        while True:
            self.note_changes()
            await trio.sleep(WATCH_S)

    async def refresh(self) -> tuple[Advice, ...]:
        """Read the evidence anew, and log what changes. Raises DatabaseUnavailable."""
        self._evidence = await self.database.work(read_evidence, self.now().wall_s, self.live.current)
        self._derived_s = float("-inf")
        return self.note_changes()

    def note_changes(self) -> tuple[Advice, ...]:
        """Derive the advice, and log what is new, graver than before, or over."""
        found, now_s = self.advice(), self.now().tick_s
        given = {(advice.code, advice.about): advice for advice in found}
        self._first_s = {key: self._first_s.get(key, now_s) for key in given}
        logs = self._logs_for_all()
        for key, advice in given.items():
            before = self._logged.get(key)
            self._last_s[key] = now_s
            if before is not None and SEVERITIES.index(before) >= SEVERITIES.index(advice.severity):
                continue
            if logs:
                log.warning("advice", **asdict(advice))
            elif before is None and now_s < self._first_s[key] + HANDOVER_S:
                continue
            self._logged[key] = advice.severity
        for key in self._logged.keys() - given.keys():
            if now_s >= self._last_s.get(key, now_s) + OVER_S:
                del self._logged[key], self._last_s[key]
                if logs:
                    log.info("advice_over", code=key[0], about=key[1])
        return found

    def _logs_for_all(self) -> bool:
        cluster, me = self.report.cluster(), self.report.peers().me
        others = (one.peer.node_id for one in cluster.nodes if one.peer.leases and not one.is_stale)
        return min(others, default=me) == me

    @property
    def connections_max(self) -> int | None:
        """How many connections PostgreSQL accepts; None before it was read, and behind a pooler."""
        return self._evidence.connections_max

    def first_run(self) -> FirstRun | None:
        """The first steps of a new installation; None if it has IPs, offers and clicks."""
        cluster = self.report.cluster()
        ips = {country: found.total for country, found in cluster.countries.items()}
        for country in self._evidence.slots if self._evidence.nobodys_ips else ():
            ips.setdefault(country, 1)
        return _first_run(self.live.current, self.offers, ips, self._evidence.has_clicks, cluster.clicks.clicks)

    def advice(self) -> tuple[Advice, ...]:
        now = self.now()
        if now.tick_s >= self._derived_s + FRESH_S:
            self._derived_s = now.tick_s
            cluster = self.report.cluster()
            counts = counts_of(cluster.countries)
            figures = _figures(
                self.live.current,
                now_s=now.wall_s,
                countries=counts,
                active={country: found.locked + found.waiting for country, found in counts.items()},
                clicks=self.report.last_minute(cluster),
                evidence=self._evidence,
                offers=self.offers.by_country,
                out={country: ips.out for country, ips in cluster.countries.items()},
                attempts=cluster.attempts,
                suspects=suspects(cluster.providers),
                refusals=refusals(cluster.providers),
                hindrances=tuple(_hindrance(cluster, name, held) for name, held in cluster.hindered),
                entries_refused=cluster.refused,
                connections=cluster.connections,
                nodes=len(cluster.nodes),
                disk=self.disk(),
            )
            self._advice = advise(figures)
        return self._advice


def _hindrance(cluster: Cluster, name: str, held: Hindered) -> Hindrance:
    """With the node's name if there are several."""
    where = f" on node {name}" if len(cluster.nodes) > 1 else ""
    return Hindrance(f"{held.activity}{where}", held.sentence, held.remedy)


def _figures(settings: Settings, **found: Any) -> Figures:
    return Figures(
        deadline_s=settings.click.deadline_s,
        cooldown_s=settings.pool.cooldown_s,
        interval_s=settings.maintenance.interval_s,
        default_country=settings.trace.default_country,
        can_check=bool(settings.provision.check_url),
        prices_per_gb={name: provider.price_per_gb for name, provider in settings.providers.items()},
        **found,
    )


def _first_run(
    settings: Settings, offers: Offers, ips: Mapping[str, int], has_clicks: bool, clicks: int
) -> FirstRun | None:
    bind = settings.click.bind[0]
    return first_run(Installation(ips, offers.by_country, offers.total, has_clicks, clicks, bind))


@dataclass(frozen=True, slots=True)
class AdviceByTables:
    """`offers`: the active ones by country. `out`: as in Figures."""

    advice: tuple[Advice, ...]
    first_run: FirstRun | None
    offers: Mapping[str, tuple[str, ...]]
    out: Mapping[str, Mapping[str, tuple[int, int]]]


async def advice_by_tables(
    conn: Connection, countries: Mapping[str, Counts], clicks: LastMinute, disk: Disk, settings: Settings, now_s: float
) -> AdviceByTables:
    """A unit of work, for when no daemon runs. `countries`, `clicks` and `disk` come from `read_status`."""
    offers, evidence, out = Offers(), await read_evidence(conn, now_s, settings), await read_out(conn)
    offers.replace(await load_offers(conn))
    figures = _figures(
        settings,
        now_s=now_s,
        countries=countries,
        active=await read_active(conn),
        clicks=clicks,
        evidence=evidence,
        offers=offers.by_country,
        out=out,
        disk=disk,
    )
    ips = {country: counts.total for country, counts in countries.items()}
    steps = _first_run(settings, offers, ips, evidence.has_clicks, clicks.clicks)
    return AdviceByTables(advise(figures), steps, offers.by_country, out)
