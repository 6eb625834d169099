"""The control socket's requests about entries that PostgreSQL refused: they work from the daemon's start on."""

from dataclasses import asdict
from typing import Any

import structlog
import trio

from daemon.control.socket import Commands
from daemon.journal.spool import Spool
from daemon.journal.writer import JournalWriter

log = structlog.get_logger("daemon.control")


def journal_commands(spool: Spool, writer: JournalWriter) -> Commands:
    """`ids`: sequence numbers; none: all refused entries."""

    async def refused_list() -> dict[str, Any]:
        return {"entries": [asdict(entry) for entry in await trio.to_thread.run_sync(spool.refused_entries)]}

    async def refused_retry(ids: list[int]) -> dict[str, Any]:
        moved = await trio.to_thread.run_sync(spool.send_again, ids)
        await writer.durable()  # wakes the shipper
        log.info("refused_entries_sent_again", entries=moved)
        return {"entries": moved}

    async def refused_drop(ids: list[int]) -> dict[str, Any]:
        dropped = await trio.to_thread.run_sync(spool.drop_refused, ids)
        log.warning("refused_entries_dropped", entries=dropped, why="an operator's request")
        return {"entries": dropped}

    return {"refused_list": refused_list, "refused_retry": refused_retry, "refused_drop": refused_drop}
