"""The canonical form of a proxy's endpoint: one text for each host and port, however they are spelled. Pure.

`tracepool_canonical_host` in the migrations is the same function in PostgreSQL: a change here needs one there. A test
compares the two.

- A host name is in lower case, without a trailing dot; other scripts than ASCII become `xn--` (UTS 46, as in browsers;
  the SQL function refuses them).
- An IPv4 address has four decimal numbers. A hexadecimal number is converted. Other notations of inet_aton(3) are
  refused: `010` has two readings, and `1.2.3` is more often a lost number than 1.2.0.3.
- An IPv6 address is written by RFC 5952, without brackets and without an embedded IPv4 address. An IPv4-mapped address
  is the IPv4 address (RFC 4291, 2.5.5.2). Only a link-local address has a zone: an interface's name, since its
  number would be a second spelling.
- A number of at most seven digits is a session slot of a gateway, never an address: it is not dialled. As an address
  it would be in 0.0.0.0/8, which no host has.
"""

import re
from ipaddress import IPv6Address

from ada_url import URL

from daemon.errors import BadInput
from daemon.web.addresses import PORT_MAX

HOST_CHARACTERS_MAX = 253  # RFC 1035, 2.3.4, as text without the root's dot
SHOWN_CHARACTERS_MAX = 80
BLANKS = " \t\n\r\f\v"
IPV4_FIRST_MAX = 223  # 224.0.0.0/4 is multicast, 240.0.0.0/4 reserved

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*")  # "ends in a number", WHATWG URL
_SLOT_NUMBER = re.compile(r"[0-9]{1,7}")
_IPV4_PART = re.compile(r"0x[0-9a-f]{1,2}|0|[1-9][0-9]{0,2}")
_IPV6 = re.compile(r"([0-9A-Fa-f:.]{2,45})(%[A-Za-z0-9._-]{1,15})?")
_SEPARATORS = re.compile(r"[\s;,|]+")
_ENDS_IN_A_PORT = re.compile(r":[0-9]{0,5}\s*$")
_PORT = re.compile(r"0*([1-9][0-9]{0,4})")
_FORBIDDEN_IN_HOSTS = re.compile(r"[\x00-\x20\x7f#/:<>?@\[\\\]^|%]")  # forbidden domain code points, WHATWG URL

IPV4_HINT = "an IPv4 address has four numbers from 0 to 255, without leading zeros, such as 192.0.2.7"
NO_HOST_HINT = "no host has this address"
HOST_HINT = "write an address such as 192.0.2.7 or 2001:db8::7, or a host name such as gate.example"


def canonical_host(text: str) -> str:
    """Raises BadInput, whose message begins with the text in quotes. Blanks around the text are ignored."""
    host = text.strip(BLANKS)
    if not host.isascii():
        host = _ascii(host)
    if ":" in host or host.startswith("["):
        return _ipv6(host)
    host = host.lower().removesuffix(".")
    if _NUMBERS.fullmatch(host):
        return host if _SLOT_NUMBER.fullmatch(host) else _ipv4(host)
    if len(host) > HOST_CHARACTERS_MAX or not _NAME.fullmatch(host):
        raise _refused(text, HOST_HINT)
    return host


def canonical_endpoint(ip_address: str, ip_port: str) -> tuple[str, str]:
    """Host and port of a row. Raises BadInput, whose message begins with the column's name."""
    try:
        host = canonical_host(ip_address)
    except BadInput as e:
        raise BadInput(f"ip_address {e}") from None
    try:
        return host, canonical_port(ip_port)
    except BadInput as e:
        raise BadInput(f"ip_port {e}") from None


def is_slot_number(host: str) -> bool:
    """Whether a canonical host is a session slot's number, which cannot be dialled."""
    return host.isdigit()


def canonical_port(text: str) -> str:
    """A number from 1 to 65535 without leading zeros. Raises BadInput as `canonical_host`."""
    match = _PORT.fullmatch(text.strip(BLANKS))
    if match is None or int(match[1]) > PORT_MAX:
        raise BadInput(f"{shown(text)} is not a port from 1 to {PORT_MAX}")
    return match[1]


def split_port(text: str) -> tuple[str, str | None]:
    """`host:port` and `[address]:port` in two parts, unchecked. Any other text is a host without a port."""
    host, colon, port = text.rpartition(":")
    if colon and (":" not in host or (host.startswith("[") and host.endswith("]"))):
        return host, port
    return text, None


def endpoint_text(text: str) -> str:
    """An address, with a port or without, in the spelling of the columns: `ip_address`, or `ip_address:ip_port`.

    Other texts stay as they are.
    """
    host, port = split_port(text.strip(BLANKS))
    try:
        return canonical_host(host) if port is None else ":".join(canonical_endpoint(host, port))
    except BadInput:
        return text


def endpoint_name(host: str, port: str | int) -> str:
    """As people write it: `192.0.2.7:3128`, `[2001:db8::7]:3128`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown(text: str) -> str:
    """The text in quotes, cut; a text that may hold a login is not shown."""
    if may_hold_login(text):
        return "the text (not shown, because it may hold a password)"
    return repr(text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…")


def may_hold_login(text: str) -> bool:
    """Whether a text that should be a host, maybe with a port, looks like more: it has an @, or too many parts."""
    colons = text.replace("://", "", 1).count(":")
    is_address = _IPV6.fullmatch(text.strip(BLANKS + "[]")) is not None
    if "@" in text or len(_SEPARATORS.findall(text.strip(BLANKS))) > 1:
        return True
    return not (colons == 0 or is_address or (colons == 1 and _ENDS_IN_A_PORT.search(text)))


def _refused(text: str, hint: str) -> BadInput:
    if "/" in text:
        hint = "write only the host, without a scheme and a path; the port has a column of its own"
    elif text.count(":") == 1 and _ENDS_IN_A_PORT.search(text):
        hint = "the port belongs into ip_port"
    return BadInput(f"{shown(text)} is neither an IP address nor a host name: {hint}")


def _ascii(host: str) -> str:
    if _FORBIDDEN_IN_HOSTS.search(host):
        raise _refused(host, HOST_HINT)
    try:
        return str(URL(f"http://{host}/").hostname)
    except ValueError:
        raise _refused(host, HOST_HINT) from None


def _ipv4(host: str) -> str:
    parts = host.split(".")
    if len(parts) == 4 and all(map(_IPV4_PART.fullmatch, parts)):
        numbers = [int(part, 16) if part.startswith("0x") else int(part) for part in parts]
        if max(numbers) <= 255:
            if not 1 <= numbers[0] <= IPV4_FIRST_MAX:
                raise _refused(host, NO_HOST_HINT)
            return ".".join(map(str, numbers))
    raise _refused(host, IPV4_HINT)


def _ipv6(host: str) -> str:
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    match = _IPV6.fullmatch(inner)
    if match is None:
        raise _refused(host, HOST_HINT)
    text, zone = match[1], match[2] or ""
    try:
        address = IPv6Address(text)
    except ValueError:
        raise _refused(host, HOST_HINT) from None
    if zone and (zone[1:].isdigit() or not address.is_link_local):
        raise _refused(host, "only a link-local address has a zone, such as fe80::7%eth0: the interface's name")
    if address.ipv4_mapped is not None:
        return _ipv4(str(address.ipv4_mapped))
    if address.is_multicast or address.is_unspecified:
        raise _refused(host, NO_HOST_HINT)
    return str(address) + zone
