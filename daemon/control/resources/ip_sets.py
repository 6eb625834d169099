"""Many IPs at once: reset, remove and check those that meet conditions."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import trio
from pydantic import Field
from pydantic.dataclasses import dataclass
from quart import Blueprint
from quart_schema import validate_request, validate_response

from daemon.checks.checker import NO_CHECK_URL, PATIENCE_S, SKIPPED, Checker
from daemon.control.api import STRICT, Flag, GetContext, Word, note_change, note_no_change
from daemon.control.problems import ProblemRaised
from daemon.control.resources.ips import IpRetired, IpsReset, Status
from daemon.control.socket import ask_process
from daemon.database.postgres import Connection
from daemon.errors import BadInput
from daemon.host.state_dir import directories_of, root_of
from daemon.journal.copies import node_id_of
from daemon.journal.spool import FILE
from daemon.pool.store import CheckableIP, Selection, checkable_ips, count_ips, remove_ips, unhealthy_ips
from daemon.pool.store import reset_ips as reset_rows
from daemon.settings.model import Settings
from daemon.web.endpoints import endpoint_name

IDS_MAX = 10_000
ANSWER_LATE_S = 15.0  # in addition to the check itself and its wait for a lease
CHECKED_MAX = 20  # in one request, which ends before an answer is too late
NAMED_MAX = 20


@dataclass(frozen=True, slots=True, config=STRICT)
class IpSelection:
    """The IPs that meet each condition given. For a reset: those of them that are unhealthy.

    `expected`: if another number of IPs meets them by now, the status is 409 and nothing is changed. `dry_run`: the
    answer is as of a change, and nothing is changed. `all`: without a condition, every IP.
    """

    country: Word | None = None
    ip: Word | None = None
    provider: Word | None = None
    status: Status | None = None
    ids: Annotated[list[UUID], Field(max_length=IDS_MAX)] | None = None
    expected: Annotated[int, Field(ge=0, strict=True)] | None = None
    dry_run: Flag = False
    all: Flag = False

    def selection(self) -> Selection:
        return Selection(country=self.country, ip=self.ip, provider=self.provider, status=self.status, ids=self.ids)

    @property
    def is_limited(self) -> bool:
        return any(one is not None for one in (self.country, self.ip, self.provider, self.status, self.ids))

    def check_count(self, count: int) -> None:
        """Raises ProblemRaised if the count is not the expected one: the change is then rolled back."""
        if self.expected is not None and count != self.expected:
            raise ProblemRaised(
                409,
                f"{count} IPs meet these conditions now, not {self.expected}: nothing was changed. Look again",
                kind="/problems/changed",
                title="Changed in the meantime",
            )


@dataclass(frozen=True, slots=True, config=STRICT)
class IpsToCheck:
    ids: Annotated[list[UUID], Field(min_length=1, max_length=CHECKED_MAX)]


@dataclass(frozen=True, slots=True)
class IpChecked:
    """`kind`: working, slow, refused, wrong_credentials, failed, or skipped, with the reason in `message`."""

    id: UUID
    ip: str
    kind: str
    ms: float | None
    exit_ip: str | None
    message: str


@dataclass(frozen=True, slots=True)
class IpsChecked:
    items: list[IpChecked]


def blueprint(context: GetContext) -> Blueprint:
    routes = Blueprint("ip_sets", __name__)

    @routes.post("/api/ips/reset")
    @validate_request(IpSelection)
    @validate_response(IpsReset)
    async def reset_ips(data: IpSelection) -> IpsReset:
        """Make unhealthy IPs available again; without a condition, all of them."""
        names = await context().database.work(_reset, data)
        _note(data, reset=len(names))
        return IpsReset(names)

    @routes.post("/api/ips/remove")
    @validate_request(IpSelection)
    @validate_response(IpRetired)
    async def retire_ips(data: IpSelection) -> IpRetired:
        """Remove IPs from the pool. The lease of an IP that is locked ends first."""
        if data.all == data.is_limited:
            conditions = "ids, ip, country, provider or status"
            raise BadInput(f"say which IPs: give {conditions}, which may be combined, or all alone")
        removed, locked = await context().database.work(_remove, data)
        _note(data, removed=removed, locked=locked)
        return IpRetired(removed, locked)

    @routes.post("/api/ips/check")
    @validate_request(IpsToCheck)
    @validate_response(IpsChecked)
    async def check_ips(data: IpsToCheck) -> IpsChecked:
        """Check IPs as `tracepool provision check` does: fetch provision.check_url through each, with a lease."""
        here = context()
        if not here.settings().provision.check_url:
            raise ProblemRaised(409, NO_CHECK_URL)
        ips = await here.database.work(checkable_ips, Selection(ids=data.ids))
        note_no_change()
        return IpsChecked(await _checked(ips, here.checker, here.settings()))

    return routes


def _note(wanted: IpSelection, **counts: int) -> None:
    if wanted.dry_run:
        note_no_change()
    conditions = {name: getattr(wanted, name) for name in ("country", "ip", "provider", "status")}
    given = {name: value for name, value in conditions.items() if value is not None}
    named = {} if wanted.ids is None else {"ids": list(map(str, wanted.ids[:NAMED_MAX]))}
    note_change(**given, **named, **counts)


async def _reset(conn: Connection, wanted: IpSelection) -> list[str]:
    ips = await (unhealthy_ips if wanted.dry_run else reset_rows)(conn, wanted.selection())
    wanted.check_count(len(ips))
    return [ip.name for ip in ips]


async def _remove(conn: Connection, wanted: IpSelection) -> tuple[int, int]:
    counts = await (count_ips if wanted.dry_run else remove_ips)(conn, wanted.selection())
    wanted.check_count(counts[0])
    return counts


async def _checked(ips: Sequence[CheckableIP], checker: Checker, settings: Settings) -> list[IpChecked]:
    """Each IP is checked by the process that owns it, if that is on this host."""
    found: dict[UUID, IpChecked] = {}
    timeout_s = settings.provision.check_timeout_s
    processes = await trio.to_thread.run_sync(_processes_of, settings)

    async def result_of(ip: CheckableIP) -> Mapping[str, Any]:
        if ip.node_id not in processes and ip.node is not None:
            message = f"node {ip.node} owns this IP: check it on that node's host"
            return {"kind": SKIPPED, "ms": None, "exit_ip": None, "message": message}
        if (directory := processes.get(ip.node_id)) is not None:
            arguments = {"ip_id": str(ip.id), "country": ip.country, "timeout_s": timeout_s}
            ask = partial(ask_process, directory, "check", timeout_s + PATIENCE_S + ANSWER_LATE_S, arguments)
            if (answer := await trio.to_thread.run_sync(ask, abandon_on_cancel=True)) is not None:
                return answer
        return await checker.check(str(ip.id), ip.country, timeout_s)

    async def check_one(ip: CheckableIP) -> None:
        result = await result_of(ip)
        name = endpoint_name(ip.ip_address, ip.ip_port)
        facts = (str(result["kind"]), result["ms"], result["exit_ip"], result["message"])
        found[ip.id] = IpChecked(ip.id, name, *facts)

    async with trio.open_nursery() as nursery:
        for ip in ips:
            nursery.start_soon(check_one, ip)
    return [found[ip.id] for ip in ips]


def _processes_of(settings: Settings) -> dict[UUID | None, Path | None]:
    """By node: the directory of each process on this host's state directory; None for this one."""
    own = settings.state_dir
    directories = directories_of(root_of(own))
    return {node_id_of(one / FILE): None if one == own else one for one in directories}
