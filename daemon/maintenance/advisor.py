"""Derives advice from the evidence that was last read from the tables and the current figures in memory."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import structlog

from daemon.clock import Moment
from daemon.database.postgres import Connection, Database
from daemon.maintenance.advice import advise
from daemon.maintenance.evidence import read_active, read_evidence
from daemon.maintenance.figures import Advice, Evidence, Figures, Hindrance, ProviderState
from daemon.maintenance.tally import LastMinute, Tally
from daemon.pool.directory import PoolDirectory
from daemon.pool.messages import Counts
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.trace.provider_health import ProviderHealth
from daemon.troubles import Troubles

FRESH_S = 1.0  # advice is derived at most once in this time, however often it is requested

log = structlog.get_logger("daemon.maintenance")


class Advisor:
    """`advice()` works without the database too; its evidence is then as old as the last successful `refresh`."""

    def __init__(
        self,
        database: Database,
        live: LiveSettings,
        directory: PoolDirectory,
        tally: Tally,
        providers: ProviderHealth,
        now: Callable[[], Moment],
        troubles: Troubles,
    ) -> None:
        self._database = database
        self._troubles = troubles
        self._live = live
        self._directory = directory
        self._tally = tally
        self._providers = providers
        self._now = now
        self._evidence = Evidence()
        self._advice: tuple[Advice, ...] = ()
        self._derived_s = float("-inf")
        self._logged: set[tuple[str, str]] = set()

    async def refresh(self) -> tuple[Advice, ...]:
        """Read the evidence anew, and log advice that is new or no longer given. Raises DatabaseUnavailable."""
        self._evidence = await self._database.work(_read_evidence, self._now().wall_s, self._live.current)
        self._derived_s = float("-inf")
        found = self.advice()
        given = {(advice.code, advice.about): advice for advice in found}
        for key in given.keys() - self._logged:
            log.warning("advice", **asdict(given[key]))
        for code, about in self._logged - given.keys():
            log.info("advice_over", code=code, about=about)
        self._logged = set(given)
        return found

    def advice(self) -> tuple[Advice, ...]:
        now = self._now()
        if now.tick_s >= self._derived_s + FRESH_S:
            self._derived_s = now.tick_s
            counts, settings = self._directory.counts(), self._live.current
            figures = _figures(
                settings,
                now_s=now.wall_s,
                countries=counts,
                active={country: found.locked + found.waiting for country, found in counts.items()},
                clicks=self._tally.last_minute(now.tick_s),
                evidence=self._evidence,
                providers=_providers(settings, self._providers.suspects(), self._providers.refusals()),
                hindrances=tuple(Hindrance(held.activity, held.sentence, held.remedy) for held in self._troubles),
            )
            self._advice = advise(figures)
        return self._advice


def _providers(
    settings: Settings, suspects: Mapping[str, str], refusals: Mapping[str, int]
) -> tuple[ProviderState, ...]:
    prices = {name: provider.price_per_gb or None for name, provider in settings.providers.items()}
    names = sorted({*prices, *suspects, *refusals})
    return tuple(
        ProviderState(name, suspects.get(name), refusals.get(name), price_per_gb=prices.get(name)) for name in names
    )


def _figures(settings: Settings, **found: Any) -> Figures:
    return Figures(
        deadline_s=settings.click.deadline_s,
        cooldown_s=settings.pool.cooldown_s,
        interval_s=settings.maintenance.interval_s,
        **found,
    )


async def _read_evidence(conn: Connection, now_s: float, settings: Settings) -> Evidence:
    times = settings.click.deadline_s, settings.pool.cooldown_s, settings.maintenance.interval_s
    return await read_evidence(conn, now_s, *times)


async def advice_by_tables(
    conn: Connection, countries: Mapping[str, Counts], clicks: LastMinute, settings: Settings, now_s: float
) -> tuple[Advice, ...]:
    """A unit of work, for when no daemon runs. `countries` and `clicks` come from `read_status`."""
    figures = _figures(
        settings,
        now_s=now_s,
        countries=countries,
        active=await read_active(conn),
        clicks=clicks,
        evidence=await _read_evidence(conn, now_s, settings),
        providers=_providers(settings, {}, {}),
    )
    return advise(figures)
