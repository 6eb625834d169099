"""A tunnel through a SOCKS5 proxy: RFC 1928 (CONNECT) and RFC 1929 (username and password).

The library socksio accepts an answer only as one piece, but real ones come in several. The proxy resolves the host's
name. There are no timeouts here: the hop has one around the whole handshake.
"""

from ipaddress import IPv6Address, ip_address

from daemon.trace.walk.verdicts import Failure
from daemon.trace.wire.stream import HopError, WireStream

ANSWERS_BYTES_MAX = 16_384  # of all answers together, with LINE_BYTES for each byte that is a line feed
_NAME_BYTES_MAX = 255
_VERSION, _LOGIN_VERSION, _CONNECT, _NONE_ACCEPTABLE = 5, 1, 1, 255
_NO_LOGIN, _LOGIN = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}

# The replies other than success (RFC 1928, 6). A proxy that reports a failure on its way to the host works.
_REPLIES = {
    1: Failure.UNREACHABLE,  # general failure: like a 500 to CONNECT; also for names that do not resolve
    2: Failure.REFUSED,  # not allowed by the proxy's rules
    3: Failure.UNREACHABLE,  # network unreachable
    4: Failure.UNREACHABLE,  # host unreachable
    5: Failure.UNREACHABLE,  # the host refuses connections
    6: Failure.UNREACHABLE,  # TTL expired
    7: Failure.REFUSED,  # command not supported
    8: Failure.REFUSED,  # address type not supported
}


async def open_socks_tunnel(
    stream: WireStream, host: str, port: int, username: str | None, password: str | None
) -> None:
    """Asks the proxy to connect to `host`: a name, an IPv4 address, or an IPv6 address in brackets.

    A username requires a proxy with logins, because it contains the session. Raises HopError and Broken.
    """
    address = _address(host)
    method = _NO_LOGIN if username is None else _LOGIN
    stream.allow(ANSWERS_BYTES_MAX)
    await stream.write(bytes((_VERSION, 1, method)))
    version, chosen = await _read(stream, 2)
    if version != _VERSION or chosen not in (method, _NONE_ACCEPTABLE):
        raise HopError(Failure.GARBAGE)
    if chosen == _NONE_ACCEPTABLE:
        raise HopError(Failure.CREDENTIALS)
    if username is not None:
        await _log_in(stream, username, password or "")
    await stream.write(bytes((_VERSION, _CONNECT, 0)) + address + port.to_bytes(2))
    version, reply = await _read(stream, 2)
    if version != _VERSION or not (reply == 0 or reply in _REPLIES):
        raise HopError(Failure.GARBAGE)
    if reply != 0:
        raise HopError(_REPLIES[reply])  # some proxies close the connection here, before the rest
    _, kind_of_address = await _read(stream, 2)
    if kind_of_address == _NAME:
        (length,) = await _read(stream, 1)
    elif kind_of_address in _ADDRESS_BYTES:
        length = _ADDRESS_BYTES[kind_of_address]
    else:
        raise HopError(Failure.GARBAGE)
    await _read(stream, length + 2)  # BND.ADDR and BND.PORT, which have no use behind a gateway


async def _log_in(stream: WireStream, username: str, password: str) -> None:
    """RFC 1929. proxies.py limits `username` and `password` to 255 bytes each."""
    name, word = username.encode(), password.encode()
    await stream.write(bytes((_LOGIN_VERSION, len(name))) + name + bytes((len(word),)) + word)
    version, status = await _read(stream, 2)
    if status != 0:
        raise HopError(Failure.CREDENTIALS)
    if version not in (_LOGIN_VERSION, _VERSION):  # some proxies answer with the version of SOCKS
        raise HopError(Failure.GARBAGE)


def _address(host: str) -> bytes:
    """ATYP and DST.ADDR of a request (RFC 1928, 5)."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        name = host.encode("ascii")
        if not 0 < len(name) <= _NAME_BYTES_MAX:
            raise HopError(Failure.UNREACHABLE) from None  # longer than any DNS name
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV6 if isinstance(address, IPv6Address) else _IPV4,)) + address.packed


async def _read(stream: WireStream, length: int) -> bytes:
    """Exactly `length` bytes: bytes after the last answer belong to the target."""
    read = b""
    while len(read) < length:
        more = await stream.read(length - len(read))
        if not more:
            raise HopError(Failure.CLOSED)
        read += more
    return read
