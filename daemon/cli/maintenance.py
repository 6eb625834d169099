"""`tracepool maintenance`: a round now."""

import time
from dataclasses import replace

from msgspec import convert

from daemon.cli.options import AsJSON, ConfigFile
from daemon.cli.output import say, say_json, shown
from daemon.cli.session import settings_of, with_database
from daemon.control.socket import ask
from daemon.control.status import read_status
from daemon.database.postgres import Connection, Database
from daemon.maintenance.advisor import advice_by_tables
from daemon.maintenance.figures import Advice
from daemon.maintenance.rounds import Report, run_once
from daemon.settings.model import Settings

ROUND_S = 120.0


def maintenance(*, as_json: AsJSON = False, config: ConfigFile = None) -> None:
    """Do a maintenance round now, and report.

    It ends locks and traces past their time, records a row of ip_pool_statistics,
    names unhealthy IPs, removes traces older than maintenance.retention_days and
    gives advice.
    A running daemon does this every minute by itself, and does it when asked;
    without one it is done on the tables.

        tracepool maintenance
        tracepool maintenance --json
    """
    settings = settings_of(config)
    answer = ask(settings.state_dir, "maintenance", timeout_s=ROUND_S)
    report = _round_without_daemon(settings) if answer is None else convert(answer, Report)
    if as_json:
        say_json(answer or report.as_dict())
        return
    for line in report.lines():
        say(shown(line))


def _round_without_daemon(settings: Settings) -> Report:
    async def advice_on(conn: Connection) -> tuple[Advice, ...]:
        found = await read_status(conn)
        return await advice_by_tables(conn, found.countries, found.last_minute, settings, time.time())

    async def round_on(database: Database) -> Report:
        report = await run_once(database, settings)
        return replace(report, advice=await database.work(advice_on))

    return with_database(settings, round_on)
