"""Access to the control face: tokens, roles, the Host header, requests from pages of other sites. Pure.

Tokens are random (256 bits), so a plain SHA-256 suffices for the stored hash: nobody can guess a token. Slow hashes
(argon2, bcrypt) protect passwords, which people choose; here they would only make requests slow.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110, 9.2.1
TOKENS_MAX = 1_000  # the newest tokens, which a request's token is compared to
_BEARER = re.compile(r"bearer +([\x21-\x7e]{1,512})", re.IGNORECASE)
_PORT = re.compile(r":[0-9]*$")


class Role(StrEnum):
    """`read` may look at everything, `operator` may change it."""

    READ = "read"
    OPERATOR = "operator"

    def may(self, method: str) -> bool:
        return self is Role.OPERATOR or method in SAFE_METHODS


@dataclass(frozen=True, slots=True)
class Principal:
    """The sender of a request: a token's name, `settings` for control.token, `open` if no token is required."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class Denied:
    """The status of the answer, and the reason."""

    status: int
    why: str


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A row of control_tokens."""

    name: str
    role: Role
    hash: bytes
    is_revoked: bool


def hash_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class Tokens:
    """The tokens. `local`: only this machine can connect; then no token is required until the first one exists.

    Revoked tokens count: to revoke the last token does not open the face.
    """

    def __init__(self, given: str, *, local: bool) -> None:
        """`given` is control.token; "" means no token."""
        self._given = hash_of(given) if given else None
        self._local = local
        self._stored: tuple[StoredToken, ...] | None = None  # None until the tokens are loaded from the database
        self.used: dict[bytes, float] = {}  # hash → last use, seconds since 1970; ControlFace records and removes it

    def use(self, given: str) -> None:
        """Replaces control.token, after a reload of the settings."""
        self._given = hash_of(given) if given else None

    def replace(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Replaces the stored tokens. `rows`: all rows of control_tokens, the newest first."""
        self._stored = tuple(
            StoredToken(str(row["name"]), Role(str(row["role"])), bytes(row["hash"]), row["revoked_at"] is not None)  # type: ignore[call-overload]
            for row in rows
        )

    @property
    def are_wanted(self) -> bool:
        """Whether a request without a token is denied."""
        return not self._local or self._given is not None or bool(self._stored)

    @property
    def any_in_force(self) -> bool:
        return self._given is not None or any(not token.is_revoked for token in self._stored or ())

    def identify(self, authorization: str | None, now_s: float) -> Principal | Denied:
        """The sender by the Authorization header. Takes the same time whichever token matches."""
        presented = _BEARER.fullmatch(authorization.strip()) if authorization else None
        if presented is not None:
            found = self._find(hash_of(presented[1]), now_s)
            if found is not None:
                return found
        if self._stored is None and (authorization or not self.are_wanted):
            return Denied(503, "tracepool is starting: the database, which has the tokens, is not ready yet")
        if authorization:
            return Denied(401, "the Authorization header holds no valid token: tracepool token list shows the tokens")
        if self.are_wanted:
            return Denied(401, "a token is required, as Authorization: Bearer TOKEN; tracepool token create makes one")
        return Principal("open", Role.OPERATOR)

    def _find(self, presented: bytes, now_s: float) -> Principal | None:
        found = None
        if self._given is not None and hmac.compare_digest(self._given, presented):
            found = Principal("settings", Role.OPERATOR)
        for token in (self._stored or ())[:TOKENS_MAX]:
            if hmac.compare_digest(token.hash, presented) and not token.is_revoked:
                found = Principal(token.name, token.role)
                self.used[token.hash] = now_s
        return found


def is_local(bind: str) -> bool:
    """Whether only programs of this machine can connect to the address."""
    if bind.startswith("unix:"):
        return True
    host = bind.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


def refused_host(host: str, hosts: Collection[str]) -> str | None:
    """Why a Host header is refused; None for an address, localhost, or one of `control.hosts`.

    DNS rebinding: another site points its own name to this machine's address, and its page then reads the answers as
    its own. Such requests carry the site's name in Host; no site can claim an address.
    """
    name = _PORT.sub("", host.lower()).rstrip(".")
    if name in hosts or name == "localhost" or name.endswith(".localhost"):
        return None
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return f"the Host {host[:100]!r} is not known: name it in control.hosts if a reverse proxy serves this face"
    return None


def refused_change(method: str, headers: Mapping[str, str], hosts: Collection[str]) -> Denied | None:
    """Why a changing request is refused: the page of another site made a browser send it (CSRF). None otherwise.

    Browsers name the page's site in Sec-Fetch-Site (Fetch Metadata, 2.4), older ones in Origin (Fetch, 3.1). Other
    programs, such as curl, send neither header and are not refused, whatever the Content-Type.
    """
    if method in SAFE_METHODS:
        return None
    origin = headers.get("Origin")
    if origin is not None:
        authority = origin.lower().partition("://")[2]
        if authority != headers.get("Host", "").lower() and _PORT.sub("", authority) not in hosts:
            return Denied(403, f"a page of another origin ({origin[:100]!r}) may not change anything here")
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return Denied(403, "a page of another site may not change anything here")
    return None
