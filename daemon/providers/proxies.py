"""The proxy address of an IP, from its row, its provider's settings and its lease. Pure.

A row is either a proxy at its own address and port, or a session at its provider's gateway. The username or the
password then carries the session, by a pattern such as `{username}-country-{country}-session-{session}`.
"""

import base64
import hashlib
import re
import string
from dataclasses import dataclass, field, replace
from ipaddress import ip_address as parsed_address
from math import ceil, inf

import msgspec

from daemon.countries import iso_code
from daemon.errors import BadInput
from daemon.providers.answers import AnswerRules, OwnAnswer, rules_of_every_proxy
from daemon.providers.settings import Provider, Scheme
from daemon.web.addresses import host_and_port
from daemon.web.endpoints import canonical_endpoint, is_slot_number
from daemon.web.headers import RawHeaders, values_of

DEFAULT_PORT = "7000"  # the default of ip_rotation_pool.ip_port
SOCKS_TEXT_BYTES_MAX = 255  # RFC 1929
DIGEST_CHARACTERS = 12  # among a million rows, two share a digest with a probability of one in five million
READABLE_CHARACTERS_MIN = 4  # of a row's own text before the digest; with less room, only the digest
NUMBER_DIGITS_MAX = 7
EXIT_IP_CHARACTERS_MAX = 64
LEAKED_CHARACTERS_MIN = 3  # of a password, in a gateway's reason


class Login(msgspec.Struct, frozen=True):
    """The login of one IP, from its row. `repr`, and so each log line, hides it."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "<Login>"


def login_of(username: str | None, password: str | None) -> Login | None:
    """The login of a row; without a username there is none."""
    return Login(username, password or "") if username else None


class LeasedProxy(msgspec.Struct, frozen=True):
    """A leased IP as in its row. `lease` is unique to the lease.

    Without a `login`, the tracing backend has the login of its provider. `ends_boot_s`: from then on, by the boot clock
    of this machine, nothing may be sent to the proxy.
    """

    address: str
    port: str
    country: str
    provider: str
    lease: str
    ends_boot_s: float = inf
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy. `host` is a name or an address without brackets. `repr` hides the credentials.

    `exit_ip_header`: the response header, in lower case, that holds the proxy's exit IP.
    """

    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    scheme: Scheme = "http"
    exit_ip_header: str | None = None
    answer_rules: AnswerRules = field(default_factory=rules_of_every_proxy, repr=False, compare=False)

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization (RFC 7617, in UTF-8), or None without a username."""
        if self.username is None:
            return None
        pair = f"{self.username}:{self.password or ''}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")

    def own_answer(
        self, status: int, headers: RawHeaders, *, tunnel: bool = False, body: bytes | None = None
    ) -> OwnAnswer | None:
        """What the proxy answered for itself, without its password. `tunnel`: to CONNECT. None: no rule matches.

        Every refusal of CONNECT is a gateway's own.
        """
        own = self.answer_rules.matching(status, headers, tunnel=tunnel, body=body)
        if own is None:
            return OwnAnswer(None, "") if tunnel and self.answer_rules.is_gateway else None
        password = self.password or ""
        leaks = any(word in password for word in own.detail.split() if len(word) >= LEAKED_CHARACTERS_MIN)
        return OwnAnswer(own.blame, "") if leaks or (password and password in own.detail) else own


@dataclass(frozen=True, slots=True)
class UnusableProxy:
    """An IP's row gives no usable proxy; `message` names the fault. The verdict is `ip`."""

    message: str


def proxy_for(
    ip_address: str,
    ip_port: str,
    provider: Provider | None = None,
    *,
    name: str = "",
    country: str = "",
    lease: str = "",
    lock_s: float = 60,
    login: Login | None = None,
) -> ProxyAddress | UnusableProxy:
    """The proxy of a row of ip_rotation_pool. Without a `provider`: a plain HTTP proxy without credentials.

    The row is canonical (web/endpoints.py); a spelling that another service sends is made so. `name` is the provider's;
    `lease` is unique to the lease, which lasts `lock_s`. A provider with neither username nor password gets no
    credentials. An IP with a `login` of its own is dialled at its own endpoint, never at its provider's gateway: the
    login belongs to the host that the row names.
    """
    at = None if provider is None or login is not None else host_and_port(provider.gateway)
    try:
        host, port = canonical_endpoint(ip_address, ip_port)
    except BadInput as e:
        return UnusableProxy(str(e))
    if at is None and is_slot_number(host):
        return UnusableProxy(
            f"ip_address {host!r} is a number: only a provider with a gateway has numbers, for sessions"
        )
    if provider is None:
        proxy = ProxyAddress(host, int(port))
    else:
        gate_host, gate_port = at or (host, int(port))
        exit_ip_header, rules = provider.exit_ip_header or None, provider.answer_rules
        proxy = ProxyAddress(gate_host, gate_port, None, None, provider.scheme, exit_ip_header, rules)
    if login is not None:
        return _with_login(proxy, login.username, login.password)
    if provider is None or not (provider.username or provider.password.get_secret_value()):
        return proxy
    code = iso_code(country)
    if code is None and "{country}" in provider.username_pattern + provider.password_pattern:
        return UnusableProxy(f"country {country[:40]!r} is no two-letter code, and the gateway's login needs one")
    code = code or ""
    values = {
        "username": provider.username,
        "password": provider.password.get_secret_value(),
        "country": code.upper() if provider.country_case == "upper" else code,
        "session": _session(host, port, provider, f"{name}-{code}-".lower(), lease),
        "lock_minutes": str(ceil(lock_s / 60)),
        "fail_closed": provider.fail_closed,
    }
    username, password = provider.username_pattern.format(**values), provider.password_pattern.format(**values)
    return _with_login(proxy, username, password)


def _with_login(proxy: ProxyAddress, username: str, password: str) -> ProxyAddress | UnusableProxy:
    if proxy.scheme == "socks5" and max(len(username.encode()), len(password.encode())) > SOCKS_TEXT_BYTES_MAX:
        return UnusableProxy(f"the login is longer than the {SOCKS_TEXT_BYTES_MAX} bytes that SOCKS5 takes")
    return replace(proxy, username=username, password=password)


def _session(host: str, port: str, provider: Provider, prefix: str, lease: str) -> str:
    """The session: the row's ip_address if the gateway accepts it, else a text that is unique to the row.

    `prefix`: the text before the number in the rows that `tracepool provision generate` makes.
    """
    least, most = provider.session_length_min, provider.session_length_max
    numeric = provider.session_characters == "digits"
    digest_length = max(least, min(DIGEST_CHARACTERS, most))
    if provider.session == "lease":
        return _digest(lease, numeric, digest_length)
    slot = host if port == DEFAULT_PORT else f"{host}-{port}"  # rows differ in one of the two
    if provider.allows_session(slot):
        return slot
    if numeric:
        # A digest is longer than any number of a generated row.
        numbered = re.fullmatch(re.escape(prefix) + r"([1-9][0-9]*)", slot)
        if numbered and len(numbered[1]) <= NUMBER_DIGITS_MAX < digest_length and provider.allows_session(numbered[1]):
            return numbered[1]
    elif most >= DIGEST_CHARACTERS + READABLE_CHARACTERS_MIN:
        # The row's text comes first, as far as it fits, so that operators recognize it in the provider's lists.
        readable = re.sub(r"[^A-Za-z0-9]", "", slot)[: most - DIGEST_CHARACTERS]
        return readable + _digest(slot, numeric, max(DIGEST_CHARACTERS, least - len(readable)))
    return _digest(slot, numeric, digest_length)


def _digest(text: str, numeric: bool, length: int) -> str:
    """`length` digits or lower-case letters; a number does not begin with 0."""
    alphabet = string.digits if numeric else string.digits + string.ascii_lowercase
    number = int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=64).digest())
    found = ""
    for _ in range(length):
        number, place = divmod(number, len(alphabet))
        found += alphabet[place]
    return f"{int(found[0]) % 9 + 1}{found[1:]}" if numeric else found


def address_of(text: object) -> str | None:
    """An IP address in canonical form, or None if `text` is no IP address."""
    if not isinstance(text, str) or len(text) > EXIT_IP_CHARACTERS_MAX:
        return None
    try:
        return str(parsed_address(text.strip()))
    except ValueError:
        return None


def exit_ip_in(headers: RawHeaders, name: str | None) -> str | None:
    """The first IP address in the header fields of this `name` (in lower case), or None."""
    if name is None:
        return None
    values = (value.decode("latin-1") for value in values_of(headers, name.encode()))
    return next((address for value in values if (address := address_of(value))), None)
