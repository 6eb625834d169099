"""The visitor behind a request: address, User-Agent, language, referrer, purpose, from the peer and headers. Pure."""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from daemon.web.forwarded import addresses_in_forwarded, addresses_in_list
from daemon.web.headers import RawHeaders, value_of, values_of
from daemon.web.privacy import Privacy, kept_address, kept_referrer, kept_user_agent

HEADER_CHARACTERS_MAX = 2_048  # of each header that is stored and forwarded

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
AUTO = "auto"  # of `click.forwarded_header`
X_FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"
MAPPED_BITS = 96  # the prefix of IPv4-mapped IPv6 addresses
PURPOSE_HEADERS = frozenset({b"sec-purpose", b"purpose", b"x-purpose", b"x-moz"})
PURPOSES = frozenset({"prefetch", "prerender", "preview"})
PREVIEW_ROBOTS = (
    *("facebookexternalhit", "facebot", "whatsapp/", "twitterbot", "linkedinbot", "slackbot", "slack-imgproxy"),
    *("telegrambot", "discordbot", "skypeuripreview", "microsoftpreview", "redditbot", "pinterestbot", "viberbot"),
    *("google-pagerenderer", "googlemessages", "iframely", "embedly", "bitlybot", "mastodon/", "summalybot"),
    *("vkshare", "odklbot", "bluesky cardyb", "synapse (bot", "mattermost-bot", "flipboardproxy"),
    *("link preview", "link-preview", "linkpreview", "url preview", "web preview"),
)
"""Parts of the User-Agents, in lower case, of robots that fetch a link in order to show a preview of it."""
UNIX = "unix"  # in `click.trusted_proxies`: every client of the daemon's unix sockets


class Visitor(msgspec.Struct, frozen=True):
    address: str | None
    user_agent: str | None
    accept_language: str | None
    referrer: str | None
    country: str | None = None  # as a trusted proxy reports it

    def kept(self, privacy: Privacy) -> "Visitor":
        """What rows, log lines and events have of this visitor. Only the click itself uses the rest, in memory."""
        if privacy.keeps_all:
            return self
        return Visitor(
            address=kept_address(self.address, privacy.visitor_address),
            user_agent=kept_user_agent(self.user_agent, privacy.user_agent),
            accept_language=None,
            referrer=kept_referrer(self.referrer, privacy.referrer),
        )


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The reverse proxies whose report of the visitor's address is used, and the header that they report it in.

    header: in lower case. `forwarded` is read by RFC 7239, any other header as a list of addresses. AUTO:
    X-Forwarded-For, or Forwarded in a request that has no X-Forwarded-For. A proxy that sets only Forwarded passes on
    the X-Forwarded-For that a visitor made up, so it requires `forwarded`.

    country_header: the header in which they report the visitor's country, in lower case; empty: none.
    """

    networks: tuple[Network, ...] = ()
    unix: bool = False
    header: str = AUTO
    country_header: str = ""

    def trust(self, peer: str | None) -> bool:
        """`peer` is None at a unix socket."""
        if peer is None:
            return self.unix
        if not self.networks:
            return False
        try:
            parsed = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)

    def reported(self, headers: RawHeaders) -> Iterator[str | None]:
        """The addresses in the header, from the right; None where an address is unknown."""
        if self.header != AUTO:
            return _addresses(self.header, _texts(headers, self.header))
        if fields := _texts(headers, X_FORWARDED_FOR):
            return _addresses(X_FORWARDED_FOR, fields)
        return _addresses(FORWARDED, _texts(headers, FORWARDED))


def trusted_proxies(texts: Sequence[str], header: str = AUTO, country_header: str = "") -> TrustedProxies:
    """`click.trusted_proxies`, `click.forwarded_header` and `click.country_header`, parsed."""
    parsed = (ipaddress.ip_network(text, strict=False) for text in texts if text != UNIX)
    return TrustedProxies(tuple(map(_unmapped, parsed)), UNIX in texts, header.lower(), country_header.lower())


def visitor_of(peer: str | None, headers: RawHeaders, trusted: TrustedProxies) -> Visitor:
    """`peer` is None at a unix socket. Header values are latin-1 (RFC 9110, 5.5)."""
    return Visitor(
        address=_address(peer, headers, trusted),
        user_agent=_cut(value_of(headers, b"user-agent")),
        accept_language=_cut(value_of(headers, b"accept-language")),
        referrer=_cut(value_of(headers, b"referer")),
        country=_country(peer, headers, trusted) if trusted.country_header else None,
    )


def purposes_in(headers: RawHeaders) -> frozenset[str]:
    """Why a browser asks, if not for a visitor who clicked: some of `prefetch`, `prerender`, `preview`.

    Sec-Purpose is a structured field (Fetch, 3.9: `prefetch;prerender`); the other headers are of older browsers.
    """
    named = (value for name, value in headers if name in PURPOSE_HEADERS)
    words = b",".join(named).lower().replace(b";", b",").split(b",")
    return PURPOSES.intersection(word.strip().decode("latin-1") for word in words)


@lru_cache(maxsize=1_024)  # few different browsers send most of the clicks
def is_preview_robot(user_agent: str | None) -> bool:
    if not user_agent:
        return False
    lower = user_agent.lower()
    return any(robot in lower for robot in PREVIEW_ROBOTS)


def _address(peer: str | None, headers: RawHeaders, trusted: TrustedProxies) -> str | None:
    """The first address from the right that is no trusted proxy's. Addresses left of an unknown one are not used."""
    if not trusted.trust(peer):
        return peer
    address = peer
    for reported in trusted.reported(headers):
        if reported is None:
            return address
        address = reported
        if not trusted.trust(address):
            return address
    return address


def _country(peer: str | None, headers: RawHeaders, trusted: TrustedProxies) -> str | None:
    """What a trusted proxy reports; None if several fields differ, because a visitor may have sent one of them."""
    if not trusted.trust(peer):
        return None
    reported = set(_texts(headers, trusted.country_header))
    return reported.pop().strip() if len(reported) == 1 else None


def _addresses(header: str, fields: list[str]) -> Iterator[str | None]:
    return addresses_in_forwarded(fields) if header == FORWARDED else addresses_in_list(fields)


def _texts(headers: RawHeaders, name: str) -> list[str]:
    return [value.decode("latin-1") for value in values_of(headers, name.encode())]


def _unmapped(network: Network) -> Network:
    """An IPv4-mapped network as its IPv4 network: peers and reported addresses are compared as IPv4."""
    if isinstance(network, ipaddress.IPv4Network) or network.prefixlen < MAPPED_BITS:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else ipaddress.IPv4Network((mapped, network.prefixlen - MAPPED_BITS))


def _cut(value: bytes | None) -> str | None:
    return value[:HEADER_CHARACTERS_MAX].decode("latin-1") if value else None
