"""The cookies of one trace, as a browser that starts with none keeps them (RFC 6265, section 5; 6265bis). Pure.

Two differences. There is no list of public suffixes: only a Domain of one label (`com`) counts as one. There is no
clock: Expires is compared to the answer's own Date, or to the year 2000 without one (sites remove a cookie by a date in
1970). The stdlib's http.cookiejar reads the clock itself and needs urllib's objects.
Texts are latin-1, one character a byte, so that values are sent as they were received.
"""

import re
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz

from ada_url import URL, HostType

from daemon.web.headers import RawHeaders, values_of

COOKIES_MAX = 60
COOKIE_CHARACTERS_MAX = 4_096  # name and value (RFC 6265bis, 5.6)
ATTRIBUTE_CHARACTERS_MAX = 1_024  # of a Path or Domain (RFC 6265bis, 5.6)
_YEAR_2000_S = 946_684_800.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Cookie:
    name: str
    value: str
    domain: str
    path: str
    host_only: bool
    secure: bool


@dataclass(frozen=True, slots=True)
class _RequestUri:
    """The parts of a URL, read once for all cookies of its answer. `is_name`: its host is no IP address."""

    host: str
    is_name: bool
    secure: bool
    default_path: str


class Jar:
    """Cookies by (name, domain, path). Beyond COOKIES_MAX the oldest is removed."""

    __slots__ = ("_cookies",)

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], _Cookie] = {}

    def keep(self, url: URL, headers: RawHeaders) -> None:
        """Stores the cookies of the answer to `url` (section 5.3). Malformed ones are ignored."""
        lines = values_of(headers, b"set-cookie")
        if not lines:
            return
        dates = values_of(headers, b"date")
        answered_s = _seconds(dates[-1].decode("latin-1")) if dates else None
        now_s = _YEAR_2000_S if answered_s is None else answered_s
        default_path = url.pathname[: url.pathname.rfind("/")] or "/"  # section 5.1.4
        uri = _RequestUri(url.hostname, url.host_type == HostType.DEFAULT, url.protocol == "https:", default_path)
        for line in lines:
            self._keep_one(uri, line.decode("latin-1"), now_s)

    def header(self, url: URL) -> str:
        """The value of the Cookie header for a request to `url` (section 5.4), or "".

        Cookies with longer paths come first, then older cookies.
        """
        if not self._cookies:
            return ""
        host, path, secure = url.hostname, url.pathname, url.protocol == "https:"
        chosen = [
            cookie
            for cookie in self._cookies.values()
            if (host == cookie.domain if cookie.host_only else _domain_matches(host, cookie.domain))
            and _path_matches(path, cookie.path)
            and (secure or not cookie.secure)
        ]
        chosen.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" if cookie.name else cookie.value for cookie in chosen)

    def _keep_one(self, uri: _RequestUri, line: str, now_s: float) -> None:
        pair, _, rest = line.partition(";")
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", pair  # "the name string is empty" (RFC 6265bis, 5.6)
        name, value = name.strip(" \t"), value.strip(" \t")
        if not (name or value) or len(name) + len(value) > COOKIE_CHARACTERS_MAX or _CONTROL.search(name + value):
            return
        attributes = _attributes(rest)
        host = uri.host
        domain = attributes.get("domain", "").removeprefix(".").lower()
        host_only = not domain or (domain == host and ("." not in host or not uri.is_name))
        # A request-host that does not domain-match the domain-attribute may not set the cookie (section 5.3, 6).
        if not host_only and ("." not in domain or not uri.is_name or not _domain_matches(host, domain)):
            return
        secure = "secure" in attributes
        if secure and not uri.secure:
            return  # only a secure scheme may set a Secure cookie (RFC 6265bis)
        path = attributes.get("path", "")
        if not path.startswith("/"):
            path = uri.default_path  # section 5.2.4
        cookie = _Cookie(name, value, host if host_only else domain, path, host_only, secure)
        key = (cookie.name, cookie.domain, cookie.path)
        if _is_removal(attributes, now_s):
            self._cookies.pop(key, None)
            return
        # A replaced cookie keeps its creation time (section 5.3, 11.3), and so its place.
        if key not in self._cookies and len(self._cookies) >= COOKIES_MAX:
            del self._cookies[next(iter(self._cookies))]
        self._cookies[key] = cookie


def _attributes(text: str) -> dict[str, str]:
    """The attributes by lower-case name; the last of a name counts (section 5.3), long values are ignored."""
    attributes: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        if len(value) <= ATTRIBUTE_CHARACTERS_MAX:
            attributes[name.strip(" \t").lower()] = value.strip(" \t")
    return attributes


def _is_removal(attributes: dict[str, str], now_s: float) -> bool:
    """Whether the cookie has expired. Max-Age has precedence over Expires (section 5.3, 3)."""
    max_age = attributes.get("max-age", "")
    if re.fullmatch(r"-?[0-9]+", max_age, re.ASCII):
        return max_age.startswith("-") or not max_age.strip("0")
    expires_s = _seconds(attributes.get("expires", ""))
    return expires_s is not None and expires_s <= now_s


def _seconds(date: str) -> float | None:
    try:
        parts = parsedate_tz(date[:64]) if date else None
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, IndexError, TypeError):  # each is raised by email.utils for some dates
        return None


def _domain_matches(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)


def _path_matches(path: str, cookie_path: str) -> bool:
    """Section 5.1.4, path-match."""
    return path == cookie_path or path.startswith(cookie_path.removesuffix("/") + "/")
