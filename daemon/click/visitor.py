"""The visitor behind a request: address, User-Agent, language and referrer, from the peer and the headers. Pure."""

import ipaddress
from collections.abc import Sequence

import msgspec

from daemon.web.headers import RawHeaders, value_of, values_of

FORWARDED_MAX = 64  # so many addresses of X-Forwarded-For are read, from the right
HEADER_CHARACTERS_MAX = 2_048  # of each header that is stored and forwarded

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX = "unix"  # in `click.trusted_proxies`: every client of the daemon's unix sockets


class Visitor(msgspec.Struct, frozen=True):
    address: str | None
    user_agent: str | None
    accept_language: str | None
    referrer: str | None


def networks(texts: Sequence[str]) -> tuple[Network | str, ...]:
    """`click.trusted_proxies`, parsed."""
    return tuple(text if text == UNIX else ipaddress.ip_network(text, strict=False) for text in texts)


def visitor_of(peer: str | None, headers: RawHeaders, trusted: Sequence[Network | str]) -> Visitor:
    """`peer` is None at a unix socket. Header values are latin-1 (RFC 9110, 5.5).

    `trusted`: reverse proxies whose X-Forwarded-For is believed. The visitor's address is the first one from the right
    that is not trusted. Several X-Forwarded-For fields form one list in their order (RFC 9110, 5.3).
    """
    return Visitor(
        address=_forwarded(peer, b",".join(values_of(headers, b"x-forwarded-for")).decode("latin-1"), trusted),
        user_agent=_cut(value_of(headers, b"user-agent")),
        accept_language=_cut(value_of(headers, b"accept-language")),
        referrer=_cut(value_of(headers, b"referer")),
    )


def _forwarded(peer: str | None, forwarded_for: str, trusted: Sequence[Network | str]) -> str | None:
    address = peer
    for text in reversed(forwarded_for.rsplit(",", FORWARDED_MAX)):
        if not (UNIX in trusted if address is None else _is_in(address, trusted)):
            return address
        try:
            address = str(ipaddress.ip_address(text.strip()))
        except ValueError:
            return address  # addresses further left cannot be trusted
    return address


def _is_in(address: str, trusted: Sequence[Network | str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted if not isinstance(network, str))


def _cut(value: bytes | None) -> str | None:
    return value[:HEADER_CHARACTERS_MAX].decode("latin-1") if value else None
