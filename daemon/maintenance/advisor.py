"""Derives advice from the evidence that was last read from the tables and the current figures in memory."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from daemon.clock import Moment
from daemon.database.postgres import Connection, Database
from daemon.maintenance.advice import advise
from daemon.maintenance.disk import Disk
from daemon.maintenance.evidence import read_active, read_evidence
from daemon.maintenance.figures import Advice, Evidence, Figures, Hindrance
from daemon.maintenance.node_report import NodeReport, counts_of
from daemon.maintenance.provider_figures import refusals, suspects
from daemon.maintenance.tally import LastMinute
from daemon.nodes.cluster import Cluster
from daemon.nodes.figures import Hindered
from daemon.pool.messages import Counts
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings

FRESH_S = 1.0  # advice is derived at most once in this time, however often it is requested

log = structlog.get_logger("daemon.maintenance")


@dataclass(slots=True, eq=False)
class Advisor:
    """Advice for all nodes together. It works without the database; its evidence is then that of the last `refresh`."""

    database: Database
    live: LiveSettings
    report: NodeReport
    now: Callable[[], Moment]
    disk: Callable[[], Disk | None] = lambda: None
    _evidence: Evidence = field(default=Evidence(), init=False)
    _advice: tuple[Advice, ...] = field(default=(), init=False)
    _derived_s: float = field(default=float("-inf"), init=False)
    _logged: set[tuple[str, str]] = field(default_factory=set, init=False)
    _seen: set[tuple[str, str]] = field(default_factory=set, init=False)  # at the last refresh

    async def refresh(self, *, logs: bool = True) -> tuple[Advice, ...]:
        """Read the evidence anew. Raises DatabaseUnavailable.

        `logs`: this node does the round, and logs advice that is new or no longer given; so does a node that is alone.
        The node of the next round may be another one: what a node has seen twice without logging it was logged by the
        node of the round in between.
        """
        self._evidence = await self.database.work(read_evidence, self.now().wall_s, self.live.current)
        self._derived_s = float("-inf")
        found = self.advice()
        given = {(advice.code, advice.about): advice for advice in found}
        if logs or len(self.report.cluster().nodes) < 2:
            for key in given.keys() - self._logged:
                log.warning("advice", **asdict(given[key]))
            for code, about in self._logged - given.keys():
                log.info("advice_over", code=code, about=about)
            self._logged = set(given)
        else:
            self._logged = (self._logged | (given.keys() & self._seen)) & (given.keys() | self._seen)
        self._seen = set(given)
        return found

    @property
    def connections_max(self) -> int | None:
        """How many connections PostgreSQL accepts; None before it was read, and behind a pooler."""
        return self._evidence.connections_max

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
        prices_per_gb={name: provider.price_per_gb for name, provider in settings.providers.items()},
        **found,
    )


async def advice_by_tables(
    conn: Connection, countries: Mapping[str, Counts], clicks: LastMinute, disk: Disk, settings: Settings, now_s: float
) -> tuple[Advice, ...]:
    """A unit of work, for when no daemon runs. `countries`, `clicks` and `disk` come from `read_status`."""
    figures = _figures(
        settings,
        now_s=now_s,
        countries=countries,
        active=await read_active(conn),
        clicks=clicks,
        evidence=await read_evidence(conn, now_s, settings),
        disk=disk,
    )
    return advise(figures)
