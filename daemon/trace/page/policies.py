"""Whether a page's Content Security Policies let its own scripts run (CSP 3, 6.7.3, inline checks). Pure."""

from collections.abc import Sequence

_OF_ELEMENTS = ("script-src-elem", "script-src", "default-src")
_OF_HANDLERS = ("script-src-attr", "script-src", "default-src")


def inline_allowed(policies: Sequence[str], *, nonce: str | None = None, handler: bool = False) -> bool | None:
    """Whether an inline script, or an event handler, runs under all `policies`; None: by its hash, possibly.

    A policy is the text of a meta element or a part of the header's comma-separated list.
    """
    found = {_allowed(_directives(policy), nonce, handler=handler) for policy in policies}
    return False if False in found else None if None in found else True


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
