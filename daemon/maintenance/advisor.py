"""Who keeps the figures for advice: what the tables said last, and how things are in memory now."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

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

FRESH_S = 1.0  # advice is worked out anew after this at the soonest, however many ask

log = structlog.get_logger("daemon.maintenance")


class Advisor:
    """`advice()` answers from memory, with the database away as well: what it then says of history grows old."""

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
        self._worked_out_s = float("-inf")
        self._told: set[tuple[str, str]] = set()

    async def refresh(self) -> tuple[Advice, ...]:
        """Reads the evidence anew, and logs what advice is new or no longer given. Raises DatabaseUnavailable."""
        self._evidence = await self._database.work(read_evidence, self._now().wall_s, *_asked(self._live.current))
        self._worked_out_s = float("-inf")
        found = self.advice()
        given = {(advice.code, advice.about): advice for advice in found}
        for key in given.keys() - self._told:
            log.warning("advice", **asdict(given[key]))
        for code, about in self._told - given.keys():
            log.info("advice_over", code=code, about=about)
        self._told = set(given)
        return found

    def advice(self) -> tuple[Advice, ...]:
        now = self._now()
        if now.tick_s >= self._worked_out_s + FRESH_S:
            self._worked_out_s = now.tick_s
            counts, settings = self._directory.counts(), self._live.current
            self._advice = advise(
                Figures(
                    now_s=now.wall_s,
                    countries=counts,
                    active={country: found.locked + found.waiting for country, found in counts.items()},
                    clicks=self._tally.last_minute(now.tick_s),
                    evidence=self._evidence,
                    providers=_providers(settings, self._providers.suspects(), self._providers.refusals()),
                    deadline_s=settings.click.deadline_s,
                    cooldown_s=settings.pool.cooldown_s,
                    interval_s=settings.maintenance.interval_s,
                    hindrances=tuple(Hindrance(held.activity, held.sentence, held.remedy) for held in self._troubles),
                )
            )
        return self._advice


def _providers(
    settings: Settings, suspects: Mapping[str, str], refusals: Mapping[str, int]
) -> tuple[ProviderState, ...]:
    prices = {name: provider.price_per_gb or None for name, provider in settings.providers.items()}
    names = sorted({*prices, *suspects, *refusals})
    return tuple(
        ProviderState(name, suspects.get(name), refusals.get(name), price_per_gb=prices.get(name)) for name in names
    )


def _asked(settings: Settings) -> tuple[float, float, float]:
    return settings.click.deadline_s, settings.pool.cooldown_s, settings.maintenance.interval_s


async def advice_by_tables(
    conn: Connection, countries: Mapping[str, Counts], clicks: LastMinute, settings: Settings, now_s: float
) -> tuple[Advice, ...]:
    """A unit of work: while no daemon runs. `countries` and `clicks` are those that `read_status` gave."""
    figures = Figures(
        now_s=now_s,
        countries=countries,
        active=await read_active(conn),
        clicks=clicks,
        evidence=await read_evidence(conn, now_s, *_asked(settings)),
        providers=_providers(settings, {}, {}),
        deadline_s=settings.click.deadline_s,
        cooldown_s=settings.pool.cooldown_s,
        interval_s=settings.maintenance.interval_s,
    )
    return advise(figures)
