"""The addresses that reverse proxies report in X-Forwarded-For and in Forwarded (RFC 7239). Pure.

Both are lists: each proxy appends the address of its own client at the right. Only the right end can be trusted, so the
lists are read from the right, and nothing that a client wrote at the left changes how the right end is read.
"""

import ipaddress
import re
from collections.abc import Iterator

from daemon.web.addresses import PORT_MAX

ADDRESSES_MAX = 64
"""A list is read up to this many elements, from the right."""
ELEMENT_CHARACTERS_MAX = 512

_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_BARE = r'[^\s",;=\\]+'  # a token, and an address without the quotes that its colons require
_PAIR = rf"(?:{_NAME}=(?:{_QUOTED}|{_BARE}))?"
_ELEMENT = re.compile(rf"[ \t]*{_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*[ \t]*")
_NAMED = re.compile(rf"({_NAME})=({_QUOTED}|{_BARE})")
_PORT = re.compile(r"[0-9]{1,5}|_[A-Za-z0-9._-]+")  # RFC 7239, 6: a number, or an obfuscated port


def address_in(text: str) -> str | None:
    """The canonical address in one element; None for `unknown`, an obfuscated name such as `_hidden`, and other texts.

    Accepted: with a port (Azure, IIS), IPv6 with or without brackets, in quotes. An IPv4-mapped IPv6 address is its
    IPv4 address (RFC 4291, 2.5.5.2). A zone such as %eth0 is left out: it has a meaning on the proxy's host only.
    """
    text = _unquoted(text.strip(" \t"))
    host, colon, port = text.rpartition(":")
    for candidate in (text, host if colon and _is_port(port) else ""):
        inner = candidate[1:-1] if candidate.startswith("[") and candidate.endswith("]") else candidate
        try:
            return canonical(ipaddress.ip_address(inner.partition("%")[0]))
        except ValueError:
            continue
    return None


def canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """The text of an address; an IPv4-mapped IPv6 address gives its IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def addresses_in_list(fields: list[str]) -> Iterator[str | None]:
    """The addresses of a comma-separated list such as X-Forwarded-For, from the right; None where one is unknown.

    Several fields form one list in their order (RFC 9110, 5.3). Empty elements are ignored (RFC 9110, 5.6.1).
    """
    for element in reversed(",".join(fields).rsplit(",", ADDRESSES_MAX)):
        if element.strip(" \t"):
            yield address_in(element)


def addresses_in_forwarded(fields: list[str]) -> Iterator[str | None]:
    """The `for=` addresses of the Forwarded fields, from the right; None where an element has none or is malformed."""
    elements = 0
    for field in reversed(fields):
        rest: str | None = field
        while rest is not None:
            element, rest = _last_element(rest)
            elements += 1
            if element is None or elements > ADDRESSES_MAX:
                yield None
                return
            if element.strip(" \t"):
                yield _for_in(element)


def _last_element(text: str) -> tuple[str | None, str | None]:
    """(the last element, the text before its comma or None if there is none). The element is None if malformed.

    The element begins behind the rightmost comma that leaves a well-formed one. A comma inside a quoted string of this
    element does not: the text behind it ends with an unpaired quote. An unpaired quote further left changes nothing.
    """
    end = len(text)
    for _ in range(ADDRESSES_MAX):
        comma = text.rfind(",", 0, end)
        if len(text) - comma > ELEMENT_CHARACTERS_MAX:
            break
        if _ELEMENT.fullmatch(text, comma + 1):
            return text[comma + 1 :], text[:comma] if comma >= 0 else None
        if comma < 0:
            break
        end = comma
    return None, None


def _for_in(element: str) -> str | None:
    """The address of an element's `for`, which may stand only once (RFC 7239, 4)."""
    found = [value for name, value in _NAMED.findall(element) if name.lower() == "for"]
    return address_in(found[0]) if len(found) == 1 else None


def _unquoted(text: str) -> str:
    if len(text) < 2 or not (text.startswith('"') and text.endswith('"')):
        return text
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and (not text.isdigit() or int(text) <= PORT_MAX)
