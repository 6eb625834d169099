"""What a page's Content Security Policies mean for its own scripts (CSP 3, 6.7.3, inline checks) and jumps. Pure."""

from collections.abc import Sequence

from ada_url import URL

_OF_ELEMENTS = ("script-src-elem", "script-src", "default-src")
_OF_HANDLERS = ("script-src-attr", "script-src", "default-src")


def inline_allowed(policies: Sequence[str], *, nonce: str | None = None, handler: bool = False) -> bool | None:
    """Whether an inline script, or an event handler, runs under all `policies`; None: by its hash, possibly.

    A policy is the text of a meta element or a part of the header's comma-separated list.
    """
    found = {_allowed(_directives(policy), nonce, handler=handler) for policy in policies}
    return False if False in found else None if None in found else True


def upgraded(href: str, page: URL, policies: Sequence[str]) -> str:
    """The URL of a jump of `page`: by https if a policy asks for that (Upgrade Insecure Requests, 3.3).

    It counts for jumps to the page's own host. A URL of this machine counts as secure.
    """
    url = URL(href)
    is_here = url.hostname == "localhost" or url.hostname.startswith("127.")
    if url.protocol != "http:" or url.hostname != page.hostname or is_here:
        return href
    if any("upgrade-insecure-requests" in _directives(policy) for policy in policies):
        url.protocol = "https:"
    return url.href


def _directives(policy: str) -> dict[str, list[str]]:
    """The directives by name; the first of a name counts (CSP 3, 2.2.1)."""
    directives: dict[str, list[str]] = {}
    for part in policy.split(";"):
        name, *sources = part.split() or [""]
        directives.setdefault(name.lower(), sources)
    return directives


def _allowed(directives: dict[str, list[str]], nonce: str | None, *, handler: bool) -> bool | None:
    if "sandbox" in directives and "allow-scripts" not in directives["sandbox"]:
        return False
    names = _OF_HANDLERS if handler else _OF_ELEMENTS
    sources = next((directives[name] for name in names if name in directives), None)
    if sources is None or (nonce and not handler and f"'nonce-{nonce}'" in sources):
        return True
    kinds = [source.lower() for source in sources]
    has_hash = any(kind.startswith("'sha") for kind in kinds)
    strict = has_hash or any(kind.startswith("'nonce-") for kind in kinds) or "'strict-dynamic'" in kinds
    if "'unsafe-inline'" in kinds and not strict:
        return True
    return None if has_hash else False
