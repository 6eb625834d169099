"""`tracepool trace`: traces URLs through the pool, with a lower priority than clicks."""

import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

import trio
from cyclopts import Parameter

from daemon.cli.import_file import name_of, read_text
from daemon.cli.nodes import nodes_that_run
from daemon.cli.output import progress, say, say_json, say_table, warn
from daemon.cli.session import ConfigFile, change, commander, flag, or_ever, settings_of, with_database
from daemon.control.actions import Action, queued, recorded
from daemon.control.socket import ask
from daemon.countries import canonical, country_of, no_country
from daemon.database.postgres import Database
from daemon.errors import BadInput, DatabaseUnavailable, TheirFault
from daemon.maintenance.node_report import counts_of
from daemon.nodes.cluster import cluster_of
from daemon.offers.macros import tracking_url
from daemon.pool.messages import NO_COUNTS
from daemon.settings.model import Settings
from daemon.trace.batch_queue import Lane, wait_of
from daemon.trace.batch_rows import add_traces, cancel_traces, traces_of

POLL_S = 0.5
FIRST_LOOK_S = 0.3
LOOK_S = 1.0
SAY_AGAIN_S = 10.0  # while the reason stays the same and its figures change
QUIET_S = 3.0  # after the end of a trace nothing is said about waits
LATE_S = 5.0  # after --timeout, for the daemon to end the traces
SILENT_S = 1.0  # PostgreSQL has not answered for that long: nothing more is awaited after --timeout
CANCEL_S = 2.0
URLS_MAX = 1_000_000
TIMEOUT_MAX_S = 86_400
QUERIED_AT_ONCE = 2_000  # the first ones only, because traces end roughly in their order
UNANSWERED = "check that PostgreSQL runs, and look for locks (pg_stat_activity)"
NOT_SERVED = "the daemon is not running: start it (tracepool serve), or store the URLs for it with --no-wait"
COLUMNS = ("url", "status", "hops", "ms", "ip", "final url or error")
ALL = "all"


def trace(
    *urls: Annotated[str, Parameter(metavar="URL", help="Where a chain starts; - reads one a line from stdin.")],
    country: Annotated[str, Parameter(metavar="C", help="The country of the IPs.")] = "us",
    now: Annotated[bool, flag("Do not wait for the pool to be below its bound, only for a free IP.")] = False,
    timeout: Annotated[
        float | None, Parameter(metavar="S", help="Give up what is not traced within S seconds.")
    ] = None,
    as_json: Annotated[bool, flag("A JSON object a line, as each trace ends.", "--json")] = False,
    no_wait: Annotated[bool, flag("Print their ids and leave them to the daemon.")] = False,
    cancel: Annotated[bool, flag("Cancel the traces with these ids instead, or all with: all.")] = False,
    config: ConfigFile = None,
) -> int:
    """Trace URLs through the pool, as clicks are traced, but after every click.

    A trace starts only while less than pool.batch_below_percent (60) of its
    country's IPs are in use. If it must wait, the reason is said at once, and again
    when it changes; tracepool status has it too. --now starts it as soon as an IP is
    free: the IP is leased and rests as ever, and waiting clicks still come first. A
    country without a working IP is an error.

    The traces are stored in active_trace_requests first, so a restart of the daemon
    loses none. Each node of the database takes those that its IPs can serve. Ctrl-C
    cancels those that have not ended, and so does the end of --timeout.

    Exit status: 0 all of them landed, 1 some did not.

        tracepool trace 'https://ads.example/click?id=7'
        tracepool trace 'https://ads.example/click?id=7' --now --timeout 30
        tracepool trace - --country uk --json < urls.txt
        tracepool trace --cancel all
    """
    settings = settings_of(config)
    if timeout is not None and not 0 < timeout <= TIMEOUT_MAX_S:
        raise BadInput(f"--timeout {timeout:g}: more than 0 and at most {TIMEOUT_MAX_S} seconds")
    if cancel:
        return _cancel(urls, settings)
    if country_of(country) is None:
        warn(f"tracepool: --country: {no_country(country)}")
    wanted, refused = _read(urls, settings)
    if not wanted:
        raise BadInput("there is no URL to trace: give URLs, or - and one a line on standard input")
    is_served = no_wait or ask(settings.state_dir, "status") is not None
    if not is_served and settings.database.url is None:
        raise TheirFault(NOT_SERVED)

    async def use(database: Database) -> bool:
        if not is_served and not nodes_that_run(await database.fetch("load_nodes")):
            raise TheirFault(NOT_SERVED)
        ids = await _stored(database, wanted, country, now=now, timeout_s=timeout)
        if no_wait:
            for request_id in ids:
                say(str(request_id))
            return True
        return await _Traces(database, settings, canonical(country), ids, now, timeout, as_json).ended()

    landed = with_database(settings, use, answer_s=None if timeout is None else timeout + LATE_S)
    return 0 if landed and not refused else 1


async def _stored(
    database: Database, urls: Sequence[str], country: str, *, now: bool, timeout_s: float | None
) -> list[UUID]:
    """Raises DatabaseUnavailable if PostgreSQL does not answer soon after `timeout_s`."""
    add = partial(add_traces, now=now, timeout_s=timeout_s)
    with trio.move_on_after(or_ever(timeout_s) + LATE_S):
        return await database.work(recorded, commander(), lambda _: queued(urls, country), add, urls, country)
    raise DatabaseUnavailable(
        f"PostgreSQL did not answer within --timeout {timeout_s:g}: no URL is traced, or only until that time is over",
        UNANSWERED,
    )


def _cancel(ids: Sequence[str], settings: Settings) -> int:
    """Exit status 1 if nothing was cancelled."""
    if not ids:
        raise BadInput(f"which traces? give their ids, or {ALL}: tracepool trace --cancel {ALL}")
    which = None if list(ids) == [ALL] else [_id_in(text) for text in ids]
    cancelling = partial(cancel_traces, ids=which)
    count = change(settings, _cancelled, cancelling, "cancelled by tracepool trace --cancel")
    say(f"cancelled {count}" if count else "cancelled none: none of them waits or runs")
    return 0 if count else 1


def _cancelled(count: int) -> Action | None:
    return Action("cancel traces", detail={"traces": count}) if count else None


def _id_in(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadInput(f"{text!r} is no id of a trace: tracepool trace --no-wait prints them") from None


def _read(urls: Sequence[str], settings: Settings) -> tuple[list[str], int]:
    """The URLs that can be traced, and the number of refused ones, which are reported on standard error."""
    wanted: list[str] = []
    refused = 0
    for given in urls:
        lines = enumerate(read_text("-").splitlines(), start=1) if given == "-" else [(0, given)]
        for number, line in lines:
            if not line.strip():
                continue
            try:
                wanted.append(tracking_url(line.strip(), allow_private=settings.trace.allow_private))
            except BadInput as e:
                refused += 1
                warn(f"tracepool: {f'{name_of(given)}:{number}: ' if number else ''}{e}")
    if len(wanted) > URLS_MAX:
        raise BadInput(f"{len(wanted)} URLs; at most {URLS_MAX} at once: split them")
    return wanted, refused


@dataclass(slots=True, eq=False)
class _Traces:
    """The traces of one command, until they have ended. `country` is canonical."""

    database: Database
    settings: Settings
    country: str
    ids: Sequence[UUID]
    now: bool
    timeout_s: float | None
    as_json: bool
    _left: dict[UUID, None] = field(init=False)
    _rows: dict[UUID, dict[str, Any]] = field(default_factory=dict, init=False)
    _ended_s: float = field(default=float("-inf"), init=False)  # when one of them ended last
    _asked_s: float | None = field(default=None, init=False)  # when PostgreSQL was asked, while it does not answer
    _said: tuple[object, str] = field(default=(None, ""), init=False)
    _said_s: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self._left = dict.fromkeys(self.ids)

    async def ended(self) -> bool:
        """Show each trace when it ends. Returns whether all of them landed. What is left at the end is cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_end_at_sigterm)
                nursery.start_soon(self._say_waits)
                nursery.start_soon(self._end_late, nursery.cancel_scope)
                await self._follow()
                nursery.cancel_scope.cancel()
        finally:
            await self._cancel_left()
            if not self.as_json:
                rows = (_shown(self._rows[i]) for i in self.ids if i in self._rows)
                say_table(COLUMNS, rows, right=("hops", "ms"))
        return not self._left and all(row["status"] == "completed" for row in self._rows.values())

    async def _follow(self) -> None:
        order = {request_id: place for place, request_id in enumerate(self.ids)}
        with progress("tracing", len(self.ids)) as advanced:
            while self._left:
                self._asked_s = trio.current_time()
                rows = await self.database.work(traces_of, list(islice(self._left, QUERIED_AT_ONCE)))
                self._asked_s = None
                for row in sorted(rows, key=lambda row: order[row["request_id"]]):
                    del self._left[row["request_id"]]
                    self._rows[row["request_id"]] = row
                    if self.as_json:
                        say_json(row, indent=None)
                if rows:
                    sys.stdout.flush()
                    advanced(len(rows))
                    self._ended_s = trio.current_time()
                elif self._left:
                    await trio.sleep(POLL_S)

    async def _end_late(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` after --timeout: when the daemon has had time to end the traces, or PostgreSQL is silent."""
        await trio.sleep(or_ever(self.timeout_s))
        for _ in range(round(LATE_S / POLL_S)):
            if self._silent_s >= SILENT_S:
                break
            await trio.sleep(POLL_S)
        silence = f"; PostgreSQL has not answered for {self._silent_s:.0f} s" if self._silent_s >= SILENT_S else ""
        missing = f"{len(self._left)} of {len(self.ids)}"
        warn(f"tracepool: --timeout {self.timeout_s:g} is over without the result of {missing}{silence}")
        scope.cancel()

    @property
    def _silent_s(self) -> float:
        """For how long PostgreSQL has not answered."""
        return 0.0 if self._asked_s is None else trio.current_time() - self._asked_s

    async def _cancel_left(self) -> None:
        if not self._left:
            return
        why, count = "cancelled: the command tracepool trace ended", None
        with trio.move_on_after(CANCEL_S, shield=True), suppress(DatabaseUnavailable):
            cancelling = partial(cancel_traces, ids=list(self._left))
            count = await self.database.work(recorded, commander(), _cancelled, cancelling, why)
        if count is None:
            warn(
                f"tracepool: {len(self._left)} of {len(self.ids)} are not traced yet, and could not be cancelled: the "
                f"daemon goes on with them; later: tracepool trace --cancel {ALL}"
            )
            return
        warn(f"tracepool: cancelled {count} of {len(self.ids)}; an IP that one of them used rests as usual")

    async def _say_waits(self) -> None:
        """Says on standard error why the traces wait, as the daemon's status has it."""
        await trio.sleep(FIRST_LOOK_S)
        while True:
            if trio.current_time() >= self._ended_s + QUIET_S:
                await self._look()
            await trio.sleep(LOOK_S)

    async def _look(self) -> None:
        try:
            found = await trio.to_thread.run_sync(ask, self.settings.state_dir, "status", abandon_on_cancel=True)
            wait = await self._wait_elsewhere() if found is None else self._wait_in(found)
        except TheirFault as e:
            self._say("daemon", f"waiting: {e}")
            return
        if wait is not None:
            reason, why = wait
            ways = "--timeout S gives up, Ctrl-C cancels"
            remedy = f"--now does not wait for that, {ways}" if _may_hurry(reason, self.now) else ways
            self._say(reason, f"waiting: {why}. {remedy[0].upper()}{remedy[1:]}.")

    def _wait_in(self, status: Mapping[str, Any]) -> tuple[str, str] | None:
        queues = status.get("traces_waiting", ())  # a daemon of an earlier version has none
        queue = next((one for one in queues if one["country"] == self.country), None)
        why = queue and queue["ahead_why" if self.now else "why"]
        return (queue["reason"] or "", why) if queue and why else None

    async def _wait_elsewhere(self) -> tuple[str, str] | None:
        """By the figures that other nodes wrote to their rows: no daemon runs here."""
        nodes = nodes_that_run(await self.database.fetch("load_nodes"))
        if not nodes:
            return "daemon", "no daemon runs any more: the traces begin when one does"
        counts = counts_of(cluster_of(nodes).countries).get(self.country, NO_COUNTS)
        can_check = bool(self.settings.provision.check_url)
        lane = Lane(self.country, counts, self.settings.pool.batch_below_percent, can_check=can_check)
        wait = wait_of(lane, ahead=self.now)
        return None if wait is None else (wait.reason, wait.why)

    def _say(self, reason: object, line: str) -> None:
        now_s = trio.current_time()
        if self._said[0] == reason and (self._said[1] == line or now_s < self._said_s + SAY_AGAIN_S):
            return
        self._said, self._said_s = (reason, line), now_s
        warn(line)


def _may_hurry(reason: str, now: bool) -> bool:
    return not now and reason in ("in_use", "clicks_wait", "paused", "too_few_ips")


async def _end_at_sigterm() -> None:
    """As Ctrl-C ends the command, so that `timeout` and service managers leave no traces behind."""
    heeded = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is signal.SIG_DFL]  # see nohup
    if not heeded:
        return
    with trio.open_signal_receiver(*heeded) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


def _shown(row: dict[str, Any]) -> tuple[object, ...]:
    result = row["final_url"] or row["error_message"]
    return row["tracking_url"], row["status"], row["hops"], row["trace_time_ms"], row["ip_assigned"], result
