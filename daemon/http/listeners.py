"""Opens the listening sockets of a face from an operator's settings, or takes over those that were passed.

systemd passes the sockets of a socket unit. The parent of several processes passes the same listening sockets to each
of them: each process accepts connections from one common queue. So a process that ends, hangs or starts delays no
connection: the others accept it. With a socket for each process (SO_REUSEPORT) the queue of one that hangs would wait,
and that of one that ends would be lost. Each connection wakes all idle processes, so the one with the most time gets
it: of 100 clicks a second on new connections, two processes take 53 and 47.
"""

import errno
import os
import socket
import stat
from collections.abc import Iterable, MutableMapping, Sequence
from dataclasses import dataclass

import trio

from daemon.errors import BadSettings, TheirFault
from daemon.host import child
from daemon.host.systemd import PassedSocket, passed_sockets
from daemon.settings.model import Settings
from daemon.web.addresses import host_and_port

_ADVICE = {
    errno.EADDRINUSE: "another program listens there; stop it or choose another port",
    errno.EACCES: "no permission; choose a port above 1023, or a folder that this user may write to",
    errno.EPERM: "no permission; choose a port above 1023, or a folder that this user may write to",
    errno.EADDRNOTAVAIL: "this machine has no such address; 0.0.0.0 is all of its IPv4 addresses",
    errno.ENOENT: "its folder does not exist; create it",
    errno.ENAMETOOLONG: "the path is too long for a socket (about 100 bytes); choose a shorter one",
}


CLICK = "click"
OF_PARENT, CONTROL = "click-of-parent", "control"
"""Names of descriptors: CLICK of a socket unit; the others only from the parent of several processes."""
CONTROL_BACKLOG = 128
UNIX_MODE = 0o660  # owner and group; the socket's permissions may be the only access control


@dataclass(frozen=True, slots=True)
class Listeners:
    """The listeners of both faces.

    `kept`: systemd keeps those for clicks after a stop of the daemon, so waiting connections are left to the next one.
    `shared`: other processes accept connections from them too.
    """

    click: list[trio.SocketListener]
    control: list[trio.SocketListener]
    kept: bool = False
    shared: bool = False


async def listeners_of(settings: Settings, environ: MutableMapping[str, str]) -> Listeners:
    """Those that were passed, and the others opened. Raises BadSettings and TheirFault."""
    passed = passed_sockets(environ)
    if not child.is_child(environ):
        kept = passed_listeners(passed)
        click = kept or await open_listeners(settings.click.bind, backlog=settings.click.backlog)
        return Listeners(click, await open_control(settings), kept=bool(kept))
    of_parent = [one for one in passed if one.name in (OF_PARENT, CONTROL)]
    kept = passed_listeners([one for one in passed if one not in of_parent])
    own = _listeners(one for one in of_parent if one.name == OF_PARENT)
    control = _listeners(one for one in of_parent if one.name == CONTROL)
    return Listeners(kept + own, control, kept=not own, shared=True)


async def open_control(settings: Settings) -> list[trio.SocketListener]:
    bind = settings.control.bind
    listeners = await open_listeners([bind], backlog=CONTROL_BACKLOG)
    if bind.startswith("unix:"):
        os.chmod(bind.removeprefix("unix:"), UNIX_MODE)
    return listeners


async def open_listeners(binds: Sequence[str], *, backlog: int) -> list[trio.SocketListener]:
    """Listen on each of `host:port`, `[::1]:port` and `unix:/path`; port 0 lets the kernel choose one.

    A host name may give several listeners. The file of a unix socket stays when its listener closes; the next start
    replaces a file without a listener.

    Raises BadSettings for another form or an address that this machine does not have, and TheirFault for an address
    that is in use or not permitted; both name the bind and the remedy. All listeners are closed in that case.
    """
    if not binds:
        raise BadSettings("no address to listen on; give at least one, such as 127.0.0.1:8080")
    listeners: list[trio.SocketListener] = []
    try:
        for bind in binds:
            listeners += await _open(bind, backlog)
    except BaseException:
        for listener in listeners:
            listener.socket.close()
        raise
    return listeners


def passed_listeners(passed: Sequence[PassedSocket]) -> list[trio.SocketListener]:
    """The listeners that systemd opened for clicks.

    Raises BadSettings for a socket that does not listen, and for a name that is not meant for clicks.
    """
    for one in passed:
        if one.name not in (CLICK, "unknown") and not one.name.endswith(".socket"):  # systemd's default names
            raise BadSettings(f"FileDescriptorName={one.name} of a socket unit: unknown; allowed: click")
    return _listeners(passed)


def _listeners(passed: Iterable[PassedSocket]) -> list[trio.SocketListener]:
    listeners: list[trio.SocketListener] = []
    for one in passed:
        try:
            listeners.append(_listener_of(socket.socket(fileno=one.fd)))
        except (OSError, ValueError) as error:
            raise BadSettings(
                f"descriptor {one.fd} ({one.name}) of a socket unit: {error}: use ListenStream= and Accept=no"
            ) from error
    return listeners


def _listener_of(sock: socket.socket) -> trio.SocketListener:
    """Wrap a listening socket; close it if that fails."""
    try:
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
    except BaseException:
        sock.close()
        raise


async def _open(bind: str, backlog: int) -> list[trio.SocketListener]:
    try:
        if bind.startswith("unix:"):
            return [_open_unix(bind.removeprefix("unix:"), backlog)]
        if (parsed := host_and_port(bind)) is None:
            raise BadSettings(
                f"cannot listen on {bind!r}: write it as host:port (127.0.0.1:8080), [::1]:8080 or"
                " unix:/run/tracepool.sock"
            )
        host, port = parsed
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except socket.gaierror as error:
        raise BadSettings(f"cannot listen on {bind}: the host name is not known ({error.strerror})") from error
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else None
        advice = _ADVICE.get(number or 0, str(error))
        kind = BadSettings if number in {errno.EADDRNOTAVAIL, errno.ENAMETOOLONG, None} else TheirFault
        raise kind(f"cannot listen on {bind}: {advice}") from error


def _open_unix(path: str, backlog: int) -> trio.SocketListener:
    if not os.path.isabs(path):
        raise BadSettings(f"cannot listen on unix:{path}: the path must begin with /")
    if len(os.fsencode(path)) > 107:  # sun_path, unix(7)
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return _listener_of(sock)


def name_of(listener: trio.SocketListener) -> str:
    """`127.0.0.1:8080`, `[::1]:8080` or `unix:/path`, as in click.bind."""
    address = listener.socket.getsockname()
    if isinstance(address, bytes):
        return "unix:@" + address[1:].decode(errors="replace")
    if isinstance(address, str):
        return f"unix:{address}"
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}"


def _remove_stale(path: str) -> None:
    """Remove the socket file at `path` if no process listens on it. Raises BadSettings for a file of another kind."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise BadSettings(f"cannot listen on unix:{path}: a file that is not a socket stands there; remove it")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            return  # a busy process listens there: the bind will fail with EADDRINUSE
