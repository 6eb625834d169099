"""How an IP of the pool is reached: from its row's texts to the address of an HTTP proxy. Pure."""

import base64
import re
from dataclasses import dataclass, field

_PORT_MAX = 65_535
_HOST_CHARACTERS_MAX = 253  # RFC 1035, 2.3.4, as text without the root's dot
# Addresses and names; an underscore is common in names that operators give. Nothing that could end a header line.
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?\.?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?\]?")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a provider asks of its customers. The password stands in no repr."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """An HTTP proxy: `host` is a name or an address without brackets. The password stands in no repr."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def authorization(self) -> bytes | None:
        """The value of Proxy-Authorization (RFC 7617, in UTF-8), or None without a username."""
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password or ''}".encode()
        return b"Basic " + base64.b64encode(pair)


@dataclass(frozen=True, slots=True)
class UnusableProxy:
    """An IP's row does not say how to reach it; `message` says what is wrong. The verdict is `ip`."""

    message: str


def proxy_for(ip_address: str, ip_port: str, credentials: Credentials | None = None) -> ProxyAddress | UnusableProxy:
    """The proxy that a row of ip_rotation_pool stands for: dialled directly, plain HTTP to the proxy.

    Both texts are as operators inserted them; surrounding blanks are ignored. Empty credentials are none.
    """
    host, port = ip_address.strip(), ip_port.strip()
    if len(host) > _HOST_CHARACTERS_MAX or not _HOST.fullmatch(host):
        return UnusableProxy(f"ip_address {host[:80]!r} is neither an IP address nor a host name")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) <= _PORT_MAX):
        return UnusableProxy(f"ip_port {port[:20]!r} is not a port from 1 to {_PORT_MAX}")
    bare_host = host.strip("[]")
    if credentials is None or not (credentials.username or credentials.password):
        return ProxyAddress(bare_host, int(port))
    return ProxyAddress(bare_host, int(port), credentials.username, credentials.password)
