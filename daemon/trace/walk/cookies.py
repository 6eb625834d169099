"""The cookies of one trace, as a browser that starts with none keeps them (RFC 6265bis, section 5). Pure.

They come from answers and from scripts (document.cookie). One difference to a browser: there is no clock. Expires is
compared to the answer's own Date, or to the year 2000 without one (sites remove a cookie by a date in 1970). The
stdlib's http.cookiejar reads the clock itself and needs urllib's objects. Texts are latin-1, one character a byte, so
that values are sent as they were received. Dates are read in cookie_dates.py.
"""

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from ada_url import URL, HostType
from publicsuffixlist import PublicSuffixList

from daemon.trace.walk.cookie_dates import cookie_date
from daemon.web.headers import RawHeaders, values_of

COOKIES_MAX = 60
COOKIE_CHARACTERS_MAX = 4_096  # name and value (5.6)
ATTRIBUTE_CHARACTERS_MAX = 1_024  # of an attribute's value (5.6)
_YEAR_2000_S = 946_684_800.0
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PREFIX = re.compile(r"__(?:secure|http|host-http|host)-", re.I | re.ASCII)
_SAME_SITE = frozenset({"Strict", "Lax", "None"})
# With a GET and with a POST. Browsers send a cookie that does not say for 2 minutes with a POST too (5.6.7.2).
_NOT_TO_OTHER_SITES = frozenset({"Strict"}), frozenset({"Strict", "Lax"})
_SUFFIXES = PublicSuffixList()


@dataclass(frozen=True, slots=True)
class Cookie:
    name: str
    value: str
    domain: str
    path: str
    host_only: bool
    secure: bool
    http_only: bool
    same_site: str  # "Strict", "Lax", "None", or "" where the cookie does not say


@dataclass(frozen=True, slots=True)
class _RequestUri:
    """The parts of a URL, read once for all cookies of its answer. `is_name`: its host is no IP address."""

    host: str
    is_name: bool
    secure: bool
    default_path: str


class Jar:
    """Cookies by (name, domain, whether only for that host, path). Beyond COOKIES_MAX the oldest is removed."""

    __slots__ = ("_cookies",)

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, bool, str], Cookie] = {}

    def __len__(self) -> int:
        return len(self._cookies)

    def cookies(self) -> tuple[Cookie, ...]:
        return tuple(self._cookies.values())

    def keep(self, url: URL, headers: RawHeaders) -> None:
        """Stores the cookies of the answer to `url` (5.7). Malformed ones are ignored."""
        lines = [line.decode("latin-1") for line in values_of(headers, b"set-cookie")]
        self._keep(url, headers, lines, by_script=False)

    def keep_from_script(self, url: URL, headers: RawHeaders, lines: Sequence[str]) -> None:
        """Stores what a script of the page at `url`, an answer with `headers`, assigned to document.cookie."""
        lines = [line.encode("utf-8", "replace").decode("latin-1") for line in lines]
        self._keep(url, headers, lines, by_script=True)

    def header(self, url: URL, page: URL | None = None, method: str = "GET") -> str:
        """The value of the Cookie header for a navigation to `url` (5.8), or "".

        `page`: the page that started the navigation, or None if no page did. Cookies with longer paths come first, then
        older cookies.
        """
        is_foreign = page is not None and bool(self._cookies) and not is_same_site(url, page)
        kept_back = _NOT_TO_OTHER_SITES[method == "POST"] if is_foreign else frozenset[str]()
        return self._shown(url, to_script=False, kept_back=kept_back)

    def document_cookie(self, url: URL) -> str:
        """The value of document.cookie on the page at `url`."""
        return self._shown(url, to_script=True).encode("latin-1").decode("utf-8", "replace")

    def _keep(self, url: URL, headers: RawHeaders, lines: Sequence[str], *, by_script: bool) -> None:
        if not lines:
            return
        dates = values_of(headers, b"date")
        answered_s = cookie_date(dates[-1].decode("latin-1")) if dates else None
        now_s = _YEAR_2000_S if answered_s is None else answered_s
        default_path = url.pathname[: url.pathname.rfind("/")] or "/"  # 5.1.4
        uri = _RequestUri(url.hostname, url.host_type == HostType.DEFAULT, url.protocol == "https:", default_path)
        for line in lines:
            self._keep_one(uri, line, now_s, by_script=by_script)

    def _shown(self, url: URL, *, to_script: bool, kept_back: Set[str] = frozenset()) -> str:
        if not self._cookies:
            return ""
        host, path, secure = url.hostname, url.pathname, url.protocol == "https:"
        chosen = [
            cookie
            for cookie in self._cookies.values()
            if (host == cookie.domain if cookie.host_only else _domain_matches(host, cookie.domain))
            and _path_matches(path, cookie.path)
            and (secure or not cookie.secure)
            and not (to_script and cookie.http_only)
            and cookie.same_site not in kept_back
        ]
        chosen.sort(key=lambda cookie: -len(cookie.path))
        return "; ".join(f"{cookie.name}={cookie.value}" if cookie.name else cookie.value for cookie in chosen)

    def _keep_one(self, uri: _RequestUri, line: str, now_s: float, *, by_script: bool) -> None:
        cookie_and_attributes = None if _CONTROL.search(line) else _parsed(line)
        if cookie_and_attributes is None:
            return
        name, value, attributes = cookie_and_attributes
        domain = _domain_of(attributes, uri)
        if domain is None or not _may_be_set(name, value, attributes, uri):
            return
        secure, http_only = "secure" in attributes, "httponly" in attributes
        path = attributes.get("path", "")
        if not path.startswith("/"):
            path = uri.default_path  # 5.6.4
        same_site = attributes.get("samesite", "").capitalize()
        same_site = same_site if same_site in _SAME_SITE else ""
        cookie = Cookie(name, value, domain or uri.host, path, not domain, secure, http_only, same_site)
        if not (secure or uri.secure) and self._would_hide_a_secure_one(cookie):
            return
        key = (cookie.name, cookie.domain, cookie.host_only, cookie.path)
        # A non-HTTP API neither sets nor replaces an HttpOnly cookie (5.7).
        if by_script and (http_only or (key in self._cookies and self._cookies[key].http_only)):
            return
        if _is_removal(attributes, now_s):
            self._cookies.pop(key, None)
            return
        # A cookie that is set again keeps its place (5.7), but in Chromium not with another value.
        if (old := self._cookies.get(key)) is not None and old.value != cookie.value:
            del self._cookies[key]
        if key not in self._cookies and len(self._cookies) >= COOKIES_MAX:
            del self._cookies[next(iter(self._cookies))]
        self._cookies[key] = cookie

    def _would_hide_a_secure_one(self, cookie: Cookie) -> bool:
        """Whether a Secure cookie of this name exists that the new one, set over plain http, would hide (5.7)."""
        return any(
            old.secure
            and old.name == cookie.name
            and (_domain_matches(old.domain, cookie.domain) or _domain_matches(cookie.domain, old.domain))
            and _path_matches(cookie.path, old.path)
            for old in self._cookies.values()
        )


def _parsed(line: str) -> tuple[str, str, dict[str, str]] | None:
    """Name, value and attributes of a set-cookie-string (5.6); None if the cookie is ignored."""
    pair, _, rest = line.partition(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair  # "the name string is empty"
    name, value = name.strip(" \t"), value.strip(" \t")
    if not (name or value) or len(name) + len(value) > COOKIE_CHARACTERS_MAX:
        return None
    return name, value, _attributes(rest)


def _attributes(text: str) -> dict[str, str]:
    """The attributes by lower-case name; the last of a name counts. Those with an invalid value are ignored (5.6)."""
    attributes: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        if len(value) > ATTRIBUTE_CHARACTERS_MAX:
            continue
        if (name == "expires" and cookie_date(value) is None) or (name == "max-age" and not _is_number(value)):
            continue
        attributes[name] = value
    return attributes


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", text, re.ASCII) is not None


def _domain_of(attributes: dict[str, str], uri: _RequestUri) -> str | None:
    """The domain that the cookie is for, "" for the request's host only; None if the host may not set it (5.7)."""
    domain, host = attributes.get("domain", "").removeprefix(".").lower(), uri.host
    if not domain or (domain == host and (not uri.is_name or _SUFFIXES.is_public(domain))):
        return ""
    if not uri.is_name or not _domain_matches(host, domain) or _SUFFIXES.is_public(domain):
        return None
    return domain


def _may_be_set(name: str, value: str, attributes: dict[str, str], uri: _RequestUri) -> bool:
    """Whether the cookie has what its Secure and SameSite attributes and the prefix of its name require (5.7)."""
    secure = "secure" in attributes
    if secure and not uri.secure:
        return False
    if attributes.get("samesite", "").lower() == "none" and not secure:
        return False
    found = _PREFIX.match(name or value)  # without a name, the value is sent in its place
    if found is None:
        return True
    if not name:
        return False
    prefix = found[0].lower()
    host_only = not attributes.get("domain", "").removeprefix(".")
    return (
        secure
        and ("http-" not in prefix or "httponly" in attributes)
        and (not prefix.startswith("__host-") or (host_only and attributes.get("path") == "/"))
    )


def _is_removal(attributes: dict[str, str], now_s: float) -> bool:
    """Whether the cookie has expired. Max-Age has precedence over Expires (5.7)."""
    if max_age := attributes.get("max-age"):
        return max_age.startswith("-") or not max_age.strip("0")
    expires_s = cookie_date(attributes.get("expires", ""))
    return expires_s is not None and expires_s <= now_s


def is_same_site(url: URL, other: URL) -> bool:
    """Whether two URLs have the same scheme and the same registrable domain (HTML 7.1.1, same site)."""
    if url.protocol != other.protocol:
        return False
    hosts = (url.hostname, other.hostname)
    if hosts[0] == hosts[1]:
        return True
    domains = {_SUFFIXES.privatesuffix(host) if found.host_type == HostType.DEFAULT else None
               for host, found in zip(hosts, (url, other), strict=True)}  # fmt: skip
    return len(domains) == 1 and None not in domains


def _domain_matches(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)


def _path_matches(path: str, cookie_path: str) -> bool:
    """Path-match (5.1.4)."""
    return path == cookie_path or path.startswith(cookie_path.removesuffix("/") + "/")
