"""Heads of HTTP/1 answers that llhttp refuses, read as browsers read them and written in the usual form. Pure.

The rules are those of Chromium (net/http: http_util.cc, http_response_headers.cc, http_stream_parser.cc).

| in the head | means |
| --- | --- |
| up to 4 bytes, or any line breaks, before the status line | nothing |
| `http/1.1`, `HTTP/2`, `HTTP`, `ICY`, further spaces before the status | version 1.1 from 1.1 on, else 1.0 |
| no status, or one that is no number | 200 |
| a bare LF or CR | the end of a line |
| a line without a colon, without a name, or with a name that is no token | nothing |
| blanks between name and colon, or around the value | nothing |
| a line that begins with a blank | part of the line before it (RFC 9112, 5.2) |
| a NUL | an error |
| `Content-Length: 5, 5`, or two equal fields | 5 (RFC 9110, 8.6) |
| different Content-Lengths | an error, unless the body is chunked |
| a Content-Length that is no number, has a sign, or is too large | no length: the body ends with the connection |
| Transfer-Encoding with `chunked` among its codings | chunked, whatever the Content-Length |
| Transfer-Encoding without it | nothing |
| the connection's end instead of the empty line | the end of the head, for http URLs |

Over https the last one is an error, because somebody may have cut the answer. Everywhere it is an error if the last
line is not complete: half a Location leads to a wrong page.
"""

import re

from daemon.web.headers import RawHeaders, values_of

_JUNK_BYTES_MAX = 4
_START = re.compile(rb"[\r\n]*+(?:ICY |.{0,%d}?HTTP)" % _JUNK_BYTES_MAX, re.IGNORECASE | re.DOTALL)
_NAMES = (b"http", b"icy ")
_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"\w{3,4}(?:/(\d)[^. \r\n]*\.(\d))?[^ \r\n]* *(\d*)")  # major and minor version, status
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110, 5.6.2
_BLANKS = b" \t"
_STATUS_MAX = 999
_DIGITS_MAX = 18  # more are no 64-bit number
_INTERIM = range(100, 200)  # another head follows (RFC 9110, 15.2)
_SWITCHING_PROTOCOLS = 101
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection", b"proxy-connection"})

Fields = list[tuple[bytes, bytes]]


class Refused(Exception):
    """A browser refuses the head, too. `status` is its status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def start_of_head(data: bytes | bytearray) -> int | None:
    """Where the status line begins; None: more bytes may show it. Raises ValueError if `data` is not HTTP."""
    if found := _START.match(data):
        return found.end() - 4  # of both names
    begun = bytes(data).lstrip(b"\r\n").lower()
    rests = [begun[at:] for at in range(_JUNK_BYTES_MAX + 1)]
    if any(name.startswith(rest) for rest in rests for name in _NAMES):
        return None
    raise ValueError("not HTTP")


def understood(data: bytes) -> bytes | None:
    """The answer that begins in `data`, with its final head in the usual form.

    None if the head is not complete. Raises ValueError if it is not HTTP, and Refused. Interim answers are left out.
    """
    data = _without_interim(data)
    start = start_of_head(data)
    if start is None or (end := _END.search(data, start)) is None:
        return None
    status, is_1_1, fields = _read(data[start : end.start()])
    return _usual(status, fields, _framing(status, is_1_1, fields)) + data[end.end() :]


def understood_at_end(data: bytes, *, may_cut: bool) -> bytes | None:
    """The same at the end of the connection, for a head without the empty line; the answer has no body.

    None if no head may end here.
    """
    data = _without_interim(data)
    if (start := start_of_head(data)) is None:
        raise ValueError("not HTTP")
    status, _, fields = _read(data[start:])
    if not (may_cut and fields and data.endswith(b"\n")):
        return None
    return _usual(status, fields, [(b"Connection", b"close"), (b"Content-Length", b"0")])


def _without_interim(data: bytes) -> bytes:
    """From the head of the final answer on, as far as it has come."""
    while (start := start_of_head(data)) is not None and (end := _END.search(data, start)) is not None:
        status, _ = _status(data[start : end.start()])
        if status not in _INTERIM or status == _SWITCHING_PROTOCOLS:
            break
        data = data[end.end() :]
    return data


def _status(text: bytes) -> tuple[int, bool]:
    """The status, and whether the version is 1.1 or later."""
    matched = _STATUS_LINE.match(text)
    assert matched, "a head begins with a name"
    major, minor, digits = matched.groups()
    is_1_1 = major is not None and (major, minor) >= (b"1", b"1")
    return (min(int(digits[:_DIGITS_MAX]), _STATUS_MAX) if digits else 200), is_1_1


def _read(text: bytes) -> tuple[int, bool, Fields]:
    """The status, whether the version is 1.1 or later, and the fields."""
    status, is_1_1 = _status(text)
    if b"\0" in text:
        raise Refused(status, "the head has a NUL")
    return status, is_1_1, _fields(text.splitlines())  # of bytes: at CR, LF and CR LF only


def _framing(status: int, is_1_1: bool, fields: Fields) -> Fields:
    """The fields that say how the body ends, and whether the connection does."""
    framing = [(b"Connection", b"keep-alive" if _keeps_alive(fields, is_1_1) else b"close")]
    lengths = _list(fields, b"content-length")
    if b"chunked" in _list(fields, b"transfer-encoding"):
        framing.append((b"Transfer-Encoding", b"chunked"))
    elif len(set(lengths)) > 1:
        raise Refused(status, "the Content-Lengths differ")
    elif lengths and lengths[0].isdigit() and len(lengths[0]) <= _DIGITS_MAX:
        framing.append((b"Content-Length", lengths[0]))
    return framing


def _usual(status: int, fields: Fields, framing: Fields) -> bytes:
    """A head that every parser reads alike, with `framing` in place of the fields of its kind."""
    others = [field for field in fields if field[0].lower() not in _FRAMING]
    lines = [b"%b: %b" % field for field in others + framing]
    return b"\r\n".join([b"HTTP/1.1 %03d" % status, *lines, b"", b""])


def _fields(lines: list[bytes]) -> Fields:
    """The fields of the lines behind the status line."""
    fields: list[tuple[bytes, list[bytes]]] = []
    continued = False  # whether a line that begins with a blank belongs to the line before it
    taken = False  # whether that line is a field
    for line in lines[1:]:
        if not line:
            continue
        if line[0] in _BLANKS:
            if continued and taken:
                fields[-1][1].append(line.strip(_BLANKS))
            continue
        name, colon, value = line.partition(b":")
        continued = bool(colon and name)
        name = name.rstrip(_BLANKS)
        taken = continued and not name.translate(None, _TOKEN)
        if taken:
            fields.append((name, [value.strip(_BLANKS)]))
    return [(name, b" ".join(values).strip(_BLANKS)) for name, values in fields]


def _list(fields: RawHeaders, name: bytes) -> list[bytes]:
    """The parts between commas of all fields of this name, in lower case; an empty field has one empty part."""
    parts: list[bytes] = []
    for value in values_of(fields, name):
        parts += [part for part in map(bytes.strip, value.lower().split(b",")) if part] or [b""]
    return parts


def _keeps_alive(fields: Fields, is_1_1: bool) -> bool:
    for name in (b"connection", b"proxy-connection"):
        for option in _list(fields, name):
            if option in (b"close", b"keep-alive"):
                return option == b"keep-alive"
    return is_1_1
