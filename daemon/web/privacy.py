"""What is kept of a visitor, by the settings of [privacy]: an address, a User-Agent, a referrer. Pure.

`full`: the value as it is. `none`: nothing. `truncated`:
- of an address its network: /24 of IPv4, /48 of IPv6;
- of a User-Agent the browser and the system, each with its major version: "Chrome/126 Android/14". For other programs
  the first product with its major version: "curl/8", or nothing;
- of a referrer its origin: "https://news.example/".
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, Protocol

Kept = Literal["full", "truncated", "none"]

PREFIX_BITS = {4: 24, 6: 48}
BROWSERS = {  # the first one that a User-Agent names: a browser names those that it is compatible with too
    "Instagram": "Instagram",
    "FBAV": "Facebook",
    "FBAN": "Facebook",
    "musical_ly": "TikTok",
    "BytedanceWebview": "TikTok",
    "Snapchat": "Snapchat",
    "Pinterest": "Pinterest",
    "GSA": "GSA",
    "EdgA": "Edge",
    "EdgiOS": "Edge",
    "Edg": "Edge",
    "OPR": "Opera",
    "OPT": "Opera",
    "SamsungBrowser": "SamsungBrowser",
    "YaBrowser": "YaBrowser",
    "UCBrowser": "UCBrowser",
    "DuckDuckGo": "DuckDuckGo",
    "FxiOS": "Firefox",
    "Firefox": "Firefox",
    "CriOS": "Chrome",
    "HeadlessChrome": "HeadlessChrome",
    "Chrome": "Chrome",
    "Version": "Safari",
}
_BROWSERS = tuple(
    (name, re.compile(rf"(?<![A-Za-z]){product}(?:[/ ]([0-9]{{1,5}}))?(?![A-Za-z])"))
    for product, name in BROWSERS.items()
)
_SYSTEMS = (
    ("iOS", re.compile(r"(?:iPhone|CPU) OS ([0-9]{1,3})")),
    ("Windows", re.compile(r"Windows NT ([0-9]{1,3})")),
    ("Android", re.compile(r"Android(?: ([0-9]{1,3}))?")),
    ("ChromeOS", re.compile(r"CrOS()")),
    ("macOS", re.compile(r"Mac OS X(?: ([0-9]{1,3}))?")),
    ("Linux", re.compile(r"Linux()")),
)
_PRODUCT = re.compile(r"([A-Za-z][A-Za-z_.-]{0,39})/v?([0-9]{1,5})\b")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]{0,30})://(?:[^@/?#\\]*@)?([^@/?#\\\s]{1,255})(?=[/?#\\]|\Z)", re.IGNORECASE)


class Privacy(Protocol):
    """The settings of [privacy]."""

    @property
    def visitor_address(self) -> Kept: ...

    @property
    def user_agent(self) -> Kept: ...

    @property
    def referrer(self) -> Kept: ...

    @property
    def keeps_all(self) -> bool: ...


def kept_address(address: str | None, how: Kept) -> str | None:
    """`address`: canonical. Truncated: "203.0.113.0/24". A text that is no address is not kept."""
    if how == "full" or address is None:
        return address
    return truncated_address(address) if how == "truncated" else None


def truncated_address(address: str) -> str | None:
    """The network of an address, or of a network that is no larger; None for any other text."""
    try:
        if "/" not in address:  # a network object for each click takes ten times as long
            parsed = ipaddress.ip_address(address.partition("%")[0])
            if parsed.version == 4:
                return f"{address.rpartition('.')[0]}.0/24"
        network = ipaddress.ip_network(address, strict=False)
    except ValueError:
        return None
    bits = PREFIX_BITS[network.version]
    return str(network.supernet(new_prefix=bits)) if network.prefixlen >= bits else None


def kept_user_agent(user_agent: str | None, how: Kept) -> str | None:
    if how == "full" or user_agent is None:
        return user_agent
    return _truncated_user_agent(user_agent) if how == "truncated" else None


def kept_referrer(referrer: str | None, how: Kept) -> str | None:
    """A text that is no URL with a host is not kept."""
    if how == "full" or referrer is None:
        return referrer
    return origin_of(referrer) if how == "truncated" else None


def origin_of(url: str) -> str | None:
    """Scheme, host and port, such as "https://news.example/"; None for a text that is no URL with a host."""
    found = _ORIGIN.match(url.strip())
    return f"{found[1].lower()}://{found[2].lower()}/" if found else None


@lru_cache(maxsize=1_024)  # few different browsers send most of the clicks
def _truncated_user_agent(user_agent: str) -> str | None:
    found = [_first(user_agent, patterns) for patterns in (_BROWSERS, _SYSTEMS)]
    if not any(found):
        product = _PRODUCT.match(user_agent)
        return _versioned(product[1], product[2]) if product else None
    return " ".join(filter(None, found))


def _first(user_agent: str, patterns: Sequence[tuple[str, re.Pattern[str]]]) -> str | None:
    for name, pattern in patterns:
        if found := pattern.search(user_agent):
            return _versioned(name, found[1])
    return None


def _versioned(name: str, version: str | None) -> str:
    return f"{name}/{version}" if version else name
