"""`tracepool provision check`: fetches a URL through each IP."""

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Annotated, Any
from uuid import uuid4

import trio
from cyclopts import Parameter

from daemon.checks.checker import CHECKS_MAX, NO_CHECK_URL, PATIENCE_S, SKIPPED, CheckKind, check
from daemon.cli.output import progress, say, say_json, say_table, warn
from daemon.cli.session import AsJSON, ConfigFile, IpAddress, IpCountry, IpProvider, settings_of, with_database, work
from daemon.control.socket import ask, ask_process
from daemon.database.postgres import Database
from daemon.errors import BadInput, BadSettings, TheirFault
from daemon.host.state_dir import directories_of
from daemon.journal.copies import may_be_cloned, node_id_of
from daemon.journal.spool import FILE
from daemon.nodes.kept_out import nodes_kept_out
from daemon.pool.store import CheckableIP, Selection, checkable_ips
from daemon.providers.proxies import LeasedProxy
from daemon.settings.model import Settings, proxy_of
from daemon.trace.backends import fetcher_of
from daemon.web.endpoints import endpoint_name

TIMEOUT_MAX_S = 60
ANSWER_LATE_S = 15.0  # in addition to the check itself and its wait for a lease
TERMINAL_ROWS_MAX = 500  # with more rows, only the IPs that do not work well are shown
COLUMNS = ("ip", "country", "provider", "result", "ms", "exit ip", "message")


@dataclass(frozen=True, slots=True)
class CheckedIP:
    """One IP as it is reported. `result`: a CheckKind, or "skipped"."""

    ip_address: str
    ip_port: str
    country: str
    provider: str
    result: str
    ms: float | None
    exit_ip: str | None
    message: str


Check = Callable[[CheckableIP], Awaitable[dict[str, Any]]]


def check_ips(
    *,
    country: IpCountry = None,
    provider: IpProvider = None,
    ip: IpAddress = None,
    timeout: Annotated[
        float | None, Parameter(metavar="S", help="Seconds for each, 0.1 to 60; else provision.check_timeout_s.")
    ] = None,
    concurrency: Annotated[int, Parameter(metavar="N", help="How many at once, 1 to 100.")] = 20,
    as_json: AsJSON = False,
    config: ConfigFile = None,
) -> int:
    """Check each IP: fetch provision.check_url through it.

    The result is: working, slow (longer than provision.check_slow_s), refused by
    the proxy, wrong credentials, or failed. The exit address comes from the
    provider's exit_ip_header, else from the URL's body: an address, or JSON with a
    field "ip". A check changes no counter and no status of an IP.

    A running daemon does the checks itself, each with a lease: IPs that are locked
    or in cooldown are skipped and reported, and no click loses its IP to a check.
    The IPs of a node on another host are skipped too: run the command there.
    Without a daemon, none can start while IPs are checked.

    Exit status: 0 all checked IPs work, even if slowly; 1 some do not, or none was
    checked; 2 wrong usage; 78 provision.check_url is not set.

        tracepool provision check --country us
        tracepool provision check --ip luna-us-7 --json
    """
    settings = settings_of(config)
    if not settings.provision.check_url:
        raise BadSettings(NO_CHECK_URL)
    timeout_s = settings.provision.check_timeout_s if timeout is None else timeout
    if not 0.1 <= timeout_s <= TIMEOUT_MAX_S:
        raise BadInput(f"--timeout {timeout_s:g}: must be 0.1 to {TIMEOUT_MAX_S}")
    if not 1 <= concurrency <= CHECKS_MAX:
        raise BadInput(f"--concurrency {concurrency}: must be 1 to {CHECKS_MAX}")
    selection = Selection(country=country, ip=ip, provider=provider)
    if ask(settings.state_dir, "status") is None:
        checked = _without_daemon(settings, selection, timeout_s, concurrency)
    else:
        ips = work(settings, checkable_ips, selection)
        checked = trio.run(_checked, ips, _by_the_daemon(settings, timeout_s), concurrency)
    _report(checked, as_json=as_json)
    works = [one.result in (CheckKind.WORKING, CheckKind.SLOW) for one in checked if one.result != SKIPPED]
    return 0 if works and all(works) else 1


def _by_the_daemon(settings: Settings, timeout_s: float) -> Check:
    """By the process that owns the IP. The IPs of nodes on other hosts are skipped: only the owner may use an IP."""
    patience_s = timeout_s + PATIENCE_S + ANSWER_LATE_S
    first, *others = directories_of(settings.state_dir)
    processes = {node_id_of(directory / FILE): directory for directory in (first, *others)}

    def asked(ip: CheckableIP) -> dict[str, Any]:
        directory = processes.get(ip.node_id) if ip.node_id else first
        if directory is None:
            message = f"node {ip.node or ip.node_id} owns this IP: run this command on that node's host"
            return {"kind": SKIPPED, "ms": None, "exit_ip": None, "message": message}
        arguments = {"ip_id": str(ip.id), "country": ip.country, "timeout_s": timeout_s}
        answer = ask_process(directory, "check", patience_s, arguments)
        if answer is None:
            raise TheirFault("the daemon stopped while IPs were checked: try again")
        return answer

    async def check_one(ip: CheckableIP) -> dict[str, Any]:
        return await trio.to_thread.run_sync(asked, ip, abandon_on_cancel=True, limiter=limiter)

    limiter = trio.CapacityLimiter(CHECKS_MAX)
    return check_one


def _without_daemon(settings: Settings, selection: Selection, timeout_s: float, concurrency: int) -> list[CheckedIP]:
    spool = settings.state_dir / FILE
    node_id = node_id_of(spool)  # the node of this state directory, whose daemon does not run
    doubtful = settings.database.url is not None and may_be_cloned(spool)

    async def use(database: Database) -> list[CheckedIP]:
        async with nodes_kept_out(database, node_id, may_be_cloned=doubtful):
            ips = await database.work(checkable_ips, selection)
            return await _checked(ips, _directly(settings, timeout_s), concurrency)

    return with_database(settings, use)


def _directly(settings: Settings, timeout_s: float) -> Check:
    fetcher = fetcher_of(settings)
    url, slow_s = settings.provision.check_url, settings.provision.check_slow_s

    async def check_one(ip: CheckableIP) -> dict[str, Any]:
        if ip.rests_until is not None:
            until = time.strftime("%H:%M:%S", ip.rests_until.utctimetuple())
            return {"kind": SKIPPED, "ms": None, "exit_ip": None, "message": f"in cooldown until {until} UTC"}
        leased = LeasedProxy(ip.ip_address, ip.ip_port, ip.country, ip.provider, str(uuid4()), login=ip.login)
        proxy = proxy_of(settings, leased)
        return asdict(await check(fetcher, proxy, url, timeout_s=timeout_s, slow_s=slow_s))

    return check_one


async def _checked(ips: Sequence[CheckableIP], check_one: Check, concurrency: int) -> list[CheckedIP]:
    """The results in the order of `ips`. Runs `concurrency` checks at once."""
    found: dict[int, CheckedIP] = {}
    places = iter(range(len(ips)))

    async def lane(advance: Callable[[int], None]) -> None:
        for place in places:
            ip = ips[place]
            result = await check_one(ip)
            ms = None if result["ms"] is None else round(result["ms"], 1)
            where = (ip.ip_address, ip.ip_port, ip.country, ip.provider)
            found[place] = CheckedIP(*where, str(result["kind"]), ms, result["exit_ip"], result["message"])
            advance(1)

    with progress("checking IPs", len(ips)) as advance:
        async with trio.open_nursery() as nursery:
            for _ in range(min(concurrency, len(ips))):
                nursery.start_soon(lane, advance)
    return [found[place] for place in range(len(ips))]


def _report(checked: list[CheckedIP], *, as_json: bool) -> None:
    counts = {kind: sum(one.result == kind for one in checked) for kind in (*map(str, CheckKind), SKIPPED)}
    exits = [one.exit_ip for one in checked if one.exit_ip is not None]
    if as_json:
        say_json({"summary": {**counts, "exit_addresses": len(set(exits))}, "ips": [asdict(one) for one in checked]})
        return
    on_terminal = sys.stdout.isatty()
    shown = [replace(one, result=one.result.replace("_", " ")) for one in checked]
    if on_terminal:
        if len(shown) > TERMINAL_ROWS_MAX:
            shown = [one for one in shown if one.result not in (CheckKind.WORKING, SKIPPED)][:TERMINAL_ROWS_MAX]
        rows = [(endpoint_name(one.ip_address, one.ip_port), *astuple(one)[2:]) for one in shown]
        say_table(COLUMNS, rows, right=("ms",))
    else:
        say_table(CheckedIP.__slots__, map(astuple, shown))
    say_summary = say if on_terminal else warn
    found = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items() if count)
    say_summary(f"checked {len(checked) - counts[SKIPPED]}: {found or 'no IP meets these conditions'}")
    if exits:
        say_summary(f"exit addresses: {len(set(exits))}, of {len(exits)} IPs")
