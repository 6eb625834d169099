"""The headers Referer and Origin of a trace's requests, as browsers send them. Pure.

A redirect keeps what its request has sent as the referrer (Fetch, 4.1 and 4.4); the jump of a page has that page as its
referrer. The policy decides what a server learns of it (Referrer Policy, 8).
"""

from collections.abc import Sequence

import msgspec
from ada_url import URL
from msgspec.structs import replace

from daemon.web.headers import RawHeaders, parsed, values_of, wire_url

DEFAULT_POLICY = "strict-origin-when-cross-origin"
CLICKS_POLICY = "no-referrer-when-downgrade"  # of the answer to a click, which redirects the visitor to the same chain
POLICIES = frozenset(
    {
        "no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin",
        "origin-when-cross-origin", "strict-origin-when-cross-origin", "unsafe-url",
    }
)  # fmt: skip
_LEGACY = {
    "never": "no-referrer",
    "default": DEFAULT_POLICY,
    "always": "unsafe-url",
    "origin-when-crossorigin": "origin-when-cross-origin",
}
REFERRER_CHARACTERS_MAX = 4_096  # of a longer one the origin is sent
_UNTIL_DOWNGRADE = frozenset({"no-referrer-when-downgrade", "strict-origin", "strict-origin-when-cross-origin"})
_WHOLE = frozenset({"no-referrer-when-downgrade", "unsafe-url"})
_WHOLE_WITHIN_ORIGIN = frozenset({"same-origin", "origin-when-cross-origin", "strict-origin-when-cross-origin"})
_WITHOUT_ORIGIN = frozenset({"no-referrer", "same-origin"})


class Referrer(msgspec.Struct, frozen=True):
    """Where a request comes from: a page's URL, and what its servers may learn of it.

    `url`: the page's, or what the last request has sent of it. `origin`: the page's. `tainted`: a redirect led from one
    foreign origin to another, which hides the origin.
    """

    url: str
    origin: str
    policy: str = DEFAULT_POLICY
    tainted: bool = False


def first_referrer(text: str | None) -> Referrer | None:
    """The referrer with which a visitor came."""
    url = parsed(text) if text else None
    return None if url is None or not _is_web(url) else Referrer(wire_url(url.href), url.origin, CLICKS_POLICY)


def of_page(url: URL, headers: RawHeaders, declared: Sequence[str] = ()) -> Referrer:
    """The referrer of a jump from the page at `url`. `declared`: the texts of its meta elements, which come last."""
    policy = next(filter(None, map(_declared_policy, reversed(declared))), None) or policy_in(headers)
    return Referrer(wire_url(url.href), url.origin, policy or DEFAULT_POLICY)


def _declared_policy(text: str) -> str | None:
    """The policy that a meta element sets (HTML 4.2.5.1, referrer), with its legacy keywords."""
    keyword = text.strip("\t\n\f\r ").lower()
    policy = _LEGACY.get(keyword, keyword)
    return policy if policy in POLICIES else None


def redirected(referrer: Referrer, source: URL, target: URL, headers: RawHeaders) -> Referrer:
    """The referrer of the request to `target`, to which the answer of `source` with these headers redirects."""
    foreign = source.origin not in (target.origin, referrer.origin)
    policy = policy_in(headers) or referrer.policy
    return replace(referrer, url=referer_to(source, referrer), policy=policy, tainted=referrer.tainted or foreign)


def policy_in(headers: RawHeaders) -> str | None:
    """The last policy of a Referrer-Policy header that browsers know (Referrer Policy, 8.1)."""
    tokens = b",".join(values_of(headers, b"referrer-policy")).decode("latin-1").lower().split(",")
    return next((token for token in map(str.strip, reversed(tokens)) if token in POLICIES), None)


def referer_to(target: URL, referrer: Referrer) -> str:
    """The value of Referer, or "" (Referrer Policy, 8.3)."""
    policy = referrer.policy
    if not referrer.url or policy == "no-referrer" or (policy in _UNTIL_DOWNGRADE and _is_downgrade(referrer, target)):
        return ""
    same = target.origin == referrer.origin
    if policy in _WHOLE or (same and policy in _WHOLE_WITHIN_ORIGIN):
        return referrer.url if len(referrer.url) <= REFERRER_CHARACTERS_MAX else f"{referrer.origin}/"
    return "" if policy == "same-origin" else f"{referrer.origin}/"


def origin_to(target: URL, referrer: Referrer) -> str:
    """The value of Origin of a POST (Fetch, 3.2)."""
    hidden = referrer.tainted or (referrer.policy in _UNTIL_DOWNGRADE and _is_downgrade(referrer, target))
    hidden = hidden or (referrer.policy in _WITHOUT_ORIGIN and not _shows(referrer, target))
    return "null" if hidden else referrer.origin


def headers_to(target: URL, referrer: Referrer, method: str) -> tuple[tuple[str, str], ...]:
    """The headers Referer and Origin of a request."""
    referer = referer_to(target, referrer)
    found = (("Referer", referer),) if referer else ()
    return (*found, ("Origin", origin_to(target, referrer))) if method == "POST" else found


def _shows(referrer: Referrer, target: URL) -> bool:
    return referrer.policy == "same-origin" and target.origin == referrer.origin


def _is_downgrade(referrer: Referrer, target: URL) -> bool:
    return referrer.origin.startswith("https:") and target.protocol != "https:"


def _is_web(url: URL) -> bool:
    return url.protocol in ("http:", "https:")
