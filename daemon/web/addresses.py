"""Hosts: their notation, and refusal of hosts outside the public internet as targets of a trace. Pure.

No name is resolved here: the proxy does that. ada-url parses hosts as a browser does, so `0x7f.1`, `2130706433` and
full-width digits are all 127.0.0.1. Sources: IANA's special-purpose address registries (RFC 6890 and later), RFC 6761,
6762, 8375 for names.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ada_url import URL, HostType

_IPV4 = [
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "an address of this network only"),
        ("10.0.0.0/8", "a private address"),
        ("100.64.0.0/10", "a carrier's shared address"),
        ("127.0.0.0/8", "a loopback address"),
        ("169.254.169.254/32", "a cloud's metadata address"),
        ("169.254.0.0/16", "a link-local address"),
        ("168.63.129.16/32", "a cloud's metadata address"),
        ("172.16.0.0/12", "a private address"),
        ("192.0.0.0/24", "an address of IETF protocols"),
        ("192.0.2.0/24", "a documentation address"),
        ("192.88.99.0/24", "a 6to4 relay address"),
        ("192.168.0.0/16", "a private address"),
        ("198.18.0.0/15", "a benchmark address"),
        ("198.51.100.0/24", "a documentation address"),
        ("203.0.113.0/24", "a documentation address"),
        ("224.0.0.0/4", "a multicast address"),
        ("255.255.255.255/32", "the broadcast address"),
        ("240.0.0.0/4", "a reserved address"),
    )
]

# The first network with the address decides. Addresses outside 2000::/3 are not public.
_IPV6 = [
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "the unspecified address"),
        ("::1/128", "a loopback address"),
        ("64:ff9b:1::/48", "a local NAT64 address"),
        ("100::/64", "a discard address"),
        ("2001::/32", "a Teredo address"),
        ("2001:db8::/32", "a documentation address"),
        ("2001::/23", "an address of IETF protocols"),
        ("3fff::/20", "a documentation address"),
        ("fc00::/7", "a unique local address"),
        ("fe80::/10", "a link-local address"),
        ("fec0::/10", "a site-local address"),
        ("ff00::/8", "a multicast address"),
    )
]
_IPV6_GLOBAL = IPv6Network("2000::/3")

# Networks whose addresses lead to an embedded IPv4 address; the number of bits to the right of it.
_IPV4_INSIDE = [
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped, RFC 4291
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated, RFC 2765
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
]

PORT_MAX = 65_535
_HOST_AND_PORT = re.compile(r"(?:\[([\w:.%]+)\]|([^\[\]:/]+)):([0-9]{1,5})")

_LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "home.arpa")


def host_and_port(text: str) -> tuple[str, int] | None:
    """Parse `gate.example:7000` or `[2001:db8::7]:7000`. The host is without brackets. None for any other text."""
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None or int(match[3]) > PORT_MAX:
        return None
    return match[1] or match[2], int(match[3])


def refused_host(url_or_host: str) -> str | None:
    """The reason why a host is not public ("127.0.0.1 is a loopback address"), or None.

    Accepts a URL of any scheme, or only a host: a name, an IPv4 address, an IPv6 address with or without brackets.
    """
    parsed = _parsed(url_or_host)
    return f"{url_or_host[:200]!r} is no host" if parsed is None else refused_host_of(parsed)


def refused_host_of(url: URL) -> str | None:
    """As `refused_host`, of a parsed http or https URL."""
    host = url.hostname
    if url.host_type == HostType.IPV4:
        return _refused_ipv4(IPv4Address(host))
    if url.host_type == HostType.IPV6:
        return _refused_ipv6(IPv6Address(host[1:-1]))
    return _refused_name(host)


def _parsed(url_or_host: str) -> URL | None:
    try:
        if "://" in url_or_host:
            url = URL(url_or_host)
            if url.protocol in ("http:", "https:"):
                return url
            host = url.hostname  # opaque in other schemes: a number in it is not parsed as an address yet
        else:
            host = url_or_host
        if not host.startswith("[") and host.count(":") > 1:
            host = f"[{host}]"
        if not host or any(mark in host for mark in "/?#@\\"):
            return None
        return URL(f"http://{host}/")
    except ValueError:
        return None


def _refused_ipv4(address: IPv4Address) -> str | None:
    return next((f"{address} is {kind}" for network, kind in _IPV4 if address in network), None)


def _refused_ipv6(address: IPv6Address) -> str | None:
    for network, shift in _IPV4_INSIDE:
        if address in network:
            inside = _refused_ipv4(IPv4Address(int(address) >> shift & 0xFFFFFFFF))
            return None if inside is None else f"{address} leads to an IPv4 address: {inside}"
    for network, kind in _IPV6:
        if address in network:
            return f"{address} is {kind}"
    return None if address in _IPV6_GLOBAL else f"{address} is not a global address"


def _refused_name(host: str) -> str | None:
    name = host.rstrip(".")
    for local in _LOCAL_NAMES:
        if name == local or name.endswith(f".{local}"):
            return f"{host!r} is a local name"
    if "." not in name:
        return f"single-label host {host!r}"
    return None
