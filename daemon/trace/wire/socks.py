"""A tunnel through a SOCKS5 proxy: RFC 1928 (CONNECT) and RFC 1929 (username and password).

A library would be socksio; it takes an answer only whole, and real ones come in pieces. The proxy resolves names: they
go to it as they stand in the URL. No timeouts here: the hop has one around all of it.
"""

from ipaddress import IPv6Address, ip_address

from daemon.trace.walk.verdicts import Kind
from daemon.trace.wire.stream import WireStream

ANSWERS_BYTES_MAX = 16_384  # all of them together, with what WireStream counts for bytes that look like lines
_NAME_BYTES_MAX = 255
_VERSION, _LOGIN_VERSION, _CONNECT, _NONE_ACCEPTABLE = 5, 1, 1, 255
_NO_LOGIN, _LOGIN = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES = {_IPV4: 4, _IPV6: 16}

# What each reply but success means. A proxy that reports a failure on its way to the host does its work.
_REPLIES = {
    1: Kind.UNREACHABLE,  # general failure: as a 500 to CONNECT; names that do not resolve are reported so, too
    2: Kind.REFUSED,  # not allowed by its rules
    3: Kind.UNREACHABLE,  # network unreachable
    4: Kind.UNREACHABLE,  # host unreachable
    5: Kind.UNREACHABLE,  # the host refuses connections
    6: Kind.UNREACHABLE,  # TTL expired
    7: Kind.REFUSED,  # it does not know CONNECT
    8: Kind.REFUSED,  # it does not take this type of address
}


class SocksError(Exception):
    """The proxy did not open the tunnel; `kind` is to be looked up in the phase `tunnel`."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind.value)
        self.kind = kind


async def open_socks_tunnel(
    stream: WireStream, host: str, port: int, username: str | None, password: str | None
) -> None:
    """Has the proxy connect to `host`: a name, an IPv4 address, or an IPv6 address in brackets.

    With a username the proxy must let us log in: it carries the session. Raises SocksError, and Broken.
    """
    address = _address(host)
    method = _NO_LOGIN if username is None else _LOGIN
    stream.allow(ANSWERS_BYTES_MAX)
    await stream.write(bytes((_VERSION, 1, method)))
    version, chosen = await _read(stream, 2)
    if version != _VERSION or chosen not in (method, _NONE_ACCEPTABLE):
        raise SocksError(Kind.GARBAGE)
    if chosen == _NONE_ACCEPTABLE:
        raise SocksError(Kind.CREDENTIALS)
    if username is not None:
        await _log_in(stream, username, password or "")
    await stream.write(bytes((_VERSION, _CONNECT, 0)) + address + port.to_bytes(2))
    version, reply = await _read(stream, 2)
    if version != _VERSION or not (reply == 0 or reply in _REPLIES):
        raise SocksError(Kind.GARBAGE)
    if reply != 0:
        raise SocksError(_REPLIES[reply])  # some proxies close here, before the rest
    _, kind_of_address = await _read(stream, 2)
    if kind_of_address == _NAME:
        (length,) = await _read(stream, 1)
    elif kind_of_address in _ADDRESS_BYTES:
        length = _ADDRESS_BYTES[kind_of_address]
    else:
        raise SocksError(Kind.GARBAGE)
    await _read(stream, length + 2)  # where it connected from: of no use behind a gateway


async def _log_in(stream: WireStream, username: str, password: str) -> None:
    """`username` and `password` have at most 255 bytes each: proxies.py sees to it."""
    name, word = username.encode(), password.encode()
    await stream.write(bytes((_LOGIN_VERSION, len(name))) + name + bytes((len(word),)) + word)
    version, status = await _read(stream, 2)
    if status != 0:
        raise SocksError(Kind.CREDENTIALS)
    if version not in (_LOGIN_VERSION, _VERSION):  # some answer with SOCKS's own version
        raise SocksError(Kind.GARBAGE)


def _address(host: str) -> bytes:
    """Type and address as a request has them."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        name = host.encode("ascii")
        if not 0 < len(name) <= _NAME_BYTES_MAX:
            raise SocksError(Kind.UNREACHABLE) from None  # no name of DNS is as long
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV6 if isinstance(address, IPv6Address) else _IPV4,)) + address.packed


async def _read(stream: WireStream, length: int) -> bytes:
    """Exactly `length` bytes, none beyond: what follows the last answer belongs to the host."""
    read = b""
    while len(read) < length:
        more = await stream.read(length - len(read))
        if not more:
            raise SocksError(Kind.CLOSED)
        read += more
    return read
