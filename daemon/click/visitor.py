"""Who clicks: address, User-Agent, language, referrer, from a request's peer and headers. Pure."""

import ipaddress
from collections.abc import Sequence

import msgspec

from daemon.web.headers import RawHeaders, value_of, values_of

FORWARDED_MAX = 64  # addresses of X-Forwarded-For that are looked at, from the right
HEADER_CHARACTERS_MAX = 2_048  # of what is stored and forwarded


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNIX = "unix"  # among the trusted: whoever may connect to a unix socket of ours


class Visitor(msgspec.Struct, frozen=True):
    address: str | None
    user_agent: str | None
    accept_language: str | None
    referrer: str | None


def networks(texts: Sequence[str]) -> tuple[Network | str, ...]:
    """`click.trusted_proxies`, parsed."""
    return tuple(text if text == UNIX else ipaddress.ip_network(text, strict=False) for text in texts)


def visitor_of(peer: str | None, headers: RawHeaders, trusted: Sequence[Network | str]) -> Visitor:
    """`peer` is None at a unix socket. The headers' bytes are latin-1 (RFC 9110, 5.5).

    `trusted`: the proxies whose X-Forwarded-For is believed, from the right, up to the first address not theirs.

    Several such headers are one list in their order (RFC 9110, 5.3): a proxy may add a line of its own below ours.
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
            return address  # the header says nothing more that can be believed
    return address


def _is_in(address: str, trusted: Sequence[Network | str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted if not isinstance(network, str))


def _cut(value: bytes | None) -> str | None:
    return value[:HEADER_CHARACTERS_MAX].decode("latin-1") if value else None
