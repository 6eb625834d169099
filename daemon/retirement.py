"""Ends the node of a state directory that no process uses any more, because `processes` was lowered.

What its last run left in the spool is shipped, and the node leaves, so that other nodes take its IPs when their leases
and rests are over. The directory is removed at a later start, after `journal.keep_s`: until then a database that loses
its last seconds gets the entries again. It stays while it has entries that PostgreSQL refused.
"""

import shutil
import time
from pathlib import Path

import structlog
import trio

from daemon.clock import Moment
from daemon.database.connect import reached_database
from daemon.database.postgres import database_loop
from daemon.host.clocks import read_clocks
from daemon.host.state_dir import state_dir_held
from daemon.journal.spool import FILE, Spool
from daemon.journal_start import journal_shipped, journal_written, spool_opened
from daemon.nodes.figures import NO_FIGURES
from daemon.nodes.membership import quiet_s
from daemon.offers.model import Offers
from daemon.pool.directory import rules_of
from daemon.pool.rests import Rests
from daemon.settings.live import LiveSettings
from daemon.settings.model import Settings
from daemon.troubles import Troubles

log = structlog.get_logger("daemon.nodes")


async def run_retirement(settings: Settings, config_file: Path | None) -> None:
    """Return when the node has left. Waits while PostgreSQL cannot be reached. Raises AlreadyRunning."""
    with state_dir_held(settings.state_dir) as state_dir:
        refused = 0
        used_s = _last_use_s(settings.state_dir)
        if used_s is not None:
            async with database_loop(), journal_written() as writer:
                troubles, offers = Troubles(), Offers()
                spool = await spool_opened(settings, state_dir, writer, offers, troubles)
                async with (
                    reached_database(settings, troubles) as database,
                    journal_shipped(
                        LiveSettings(settings, config_file), spool, writer, database, offers, troubles
                    ) as journal,
                ):
                    longest_s = await trio.to_thread.run_sync(_longest_rest_s, spool, settings, read_clocks())
                    journal.member.report(lambda: NO_FIGURES, lambda: longest_s)
                    refused = spool.refused
        keep_s = max(settings.journal.keep_s, quiet_s(settings.pool.lock_s, settings.pool.cooldown_s))
        is_removed = not refused and (used_s is None or time.time() - used_s > keep_s)
        if is_removed:
            await trio.to_thread.run_sync(shutil.rmtree, settings.state_dir)
        log.info("node_retired", directory=str(settings.state_dir), removed=is_removed, refused_entries=refused)


def _longest_rest_s(spool: Spool, settings: Settings, now: Moment) -> float:
    """How long from now until the last lease of the node's earlier runs and its rest are over."""
    rests = Rests()
    rests.learn(spool.bodies("ip_changed"), now, rules_of(settings))
    return rests.longest_s(now.tick_s)


def _last_use_s(directory: Path) -> float | None:
    """When the spool was last written, in seconds since 1970; None without a spool."""
    return max((file.stat().st_mtime for file in directory.glob(f"{FILE}*")), default=None)
