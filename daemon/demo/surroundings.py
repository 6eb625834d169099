"""What the demo's daemon finds around it: a private state directory, the ad network, a database with IPs and offers.

Each is a context manager that leaves nothing behind, whatever ends the block.
"""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import trio

from daemon.database import embedded
from daemon.database.binaries import choose_account, refuse_unless_reachable
from daemon.database.postgres import Database, open_database
from daemon.database.schema import migrate
from daemon.demo.network import DemoNetwork, PortBusy, demo_network, free_port_for
from daemon.demo.showcase import ADDRESSES, ALL_ADDRESSES, OFFERS
from daemon.demo.wire import connect
from daemon.errors import DatabaseSetupFailed, TheirFault
from daemon.offers.schema import offer_fields
from daemon.offers.store import add_offers
from daemon.pool.provision_rows import new_ip
from daemon.pool.store import add_ips
from daemon.settings.model import Settings

PROXY_PORT = 7000
PORTS_LOST_MAX = 20
"""How often another program may take a port between our look at it and our use of it."""
CONNECTIONS_MAX = 2
STATE_DIR_MODE = 0o711  # as root, the embedded server's account has to pass through

Say = Callable[[str], None]


class NoLoopbackRange(TheirFault):
    """The demo needs the addresses 127.1.0.1 to 127.1.0.15 of its own machine."""


@contextmanager
def private_state_dir(say: Say) -> Iterator[Path]:
    """A new directory for everything the demo writes, gone at the end. Raises DatabaseSetupFailed, OSError."""
    path = Path(tempfile.mkdtemp(prefix="tracepool-demo-", dir=_enterable_directory())).resolve()
    try:
        path.chmod(STATE_DIR_MODE if os.geteuid() == 0 else 0o700)
        yield path
    finally:
        try:
            shutil.rmtree(path)
        except OSError as e:
            say(f"{path} could not be removed: {e}")


def _enterable_directory() -> str:
    """Where temporary files go; as root, the first such place that the embedded server's account can enter too."""
    first = tempfile.gettempdir()
    account = choose_account()
    for place in dict.fromkeys((first, "/tmp", "/var/tmp")):  # noqa: S108  # mkdtemp makes a private one in it
        try:
            refuse_unless_reachable(Path(place), account)
        except (DatabaseSetupFailed, OSError):
            continue
        return place
    return first  # the server's start then names the directory that is closed


@asynccontextmanager
async def ad_network(say: Say) -> AsyncIterator[DemoNetwork]:
    """The network, its proxies on PROXY_PORT or the next free one. Raises NoLoopbackRange, PortBusy."""
    async with AsyncExitStack() as stack:
        network = await _open_network(stack)
        await _refuse_a_dead_loopback(network)
        if network.proxy_port != PROXY_PORT:
            say(f"port {PROXY_PORT} is busy on these addresses: the proxies take {network.proxy_port} instead")
        yield network


async def _open_network(stack: AsyncExitStack) -> DemoNetwork:
    if sys.platform != "linux":
        raise NoLoopbackRange(
            f"tracepool demo needs Linux, where all of 127.0.0.0/8 is loopback; this is {sys.platform}"
        )
    port = PROXY_PORT
    for attempt in range(PORTS_LOST_MAX):
        try:
            port = free_port_for(ALL_ADDRESSES, port)
            return await stack.enter_async_context(demo_network(ALL_ADDRESSES, proxy_port=port))
        except PortBusy:
            if attempt + 1 == PORTS_LOST_MAX:
                raise
        except OSError as e:
            if e.errno != errno.EADDRNOTAVAIL:
                raise TheirFault(f"the demo's proxies cannot listen on {ALL_ADDRESSES[0]}: {e.strerror}") from e
            raise _no_loopback_range(e) from e
    raise AssertionError("the last attempt returns or raises")


async def _refuse_a_dead_loopback(network: DemoNetwork) -> None:
    """An interface that is down lets programs listen and not connect."""
    for address in ("127.0.0.1", ALL_ADDRESSES[0], ALL_ADDRESSES[-1]):
        at = (address, network.origin[1] if address == network.origin[0] else network.proxy_port)
        try:
            (await connect(address, *at)).close()
        except OSError as e:
            raise _no_loopback_range(e) from e


def _no_loopback_range(error: OSError) -> NoLoopbackRange:
    why = os.strerror(error.errno or 0)
    return NoLoopbackRange(
        f"{NoLoopbackRange.__doc__} They do not work here ({why}): `ip link set lo up`, or leave the sandbox that has "
        "no loopback of its own."
    )


@asynccontextmanager
async def provisioned_database(state_dir: Path, network: DemoNetwork) -> AsyncIterator[Database]:
    """The embedded PostgreSQL of the state directory with the demo's IPs and offers as an operator would add them.

    It is started here and shared with the daemon; the last one out stops it. Raises DatabaseSetupFailed.
    """
    server = await trio.to_thread.run_sync(embedded.start, state_dir)
    try:
        given = Settings().database
        async with open_database(
            server.url,
            connections_max=CONNECTIONS_MAX,
            connect_timeout_s=given.connect_timeout_s,
            statement_timeout_s=given.statement_timeout_s,
        ) as database:
            await database.work(migrate)
            await _provision(database, network)
            yield database
    finally:
        with trio.CancelScope(shield=True):  # it ends within the server's own limit on stopping
            await trio.to_thread.run_sync(server.stop)


async def _provision(database: Database, network: DemoNetwork) -> None:
    ips = [
        new_ip({"ip_address": address, "ip_port": network.proxy_port, "country": country, "provider": "demo"})
        for country, addresses in ADDRESSES.items()
        for address in addresses
    ]
    offers = [
        offer_fields(
            {
                "offer_name": offer.name,
                "final_url": offer.tracking_url(network),
                "target_country": offer.country,
            },
            allow_private=True,
        )
        for offer in OFFERS
    ]
    await database.work(add_ips, ips, lambda _: None)
    await database.work(add_offers, offers, False)
