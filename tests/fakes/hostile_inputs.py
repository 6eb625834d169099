"""The inputs with the highest cost for their size, for every parser of untrusted bytes.

tests/unit/test_linear_time.py checks that none of them takes more than linear time; `python -m tests.bench parsers`
measures them. New parsers and newly found slow inputs are added here.
"""

import gzip
import itertools
import zlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import cache, reduce
from random import Random
from typing import Any
from uuid import UUID

import brotli
from ada_url import URL
from backports import zstd
from pydantic import TypeAdapter

from daemon.click.visitor import trusted_proxies, visitor_of
from daemon.http.http1 import PlainHTTP
from daemon.http.request_rules import Refusal
from daemon.offers.macros import macro_url, template_of
from daemon.trace.page.body import PageBody, page_body
from daemon.trace.page.charsets import charset_in
from daemon.trace.page.html import Source, read_page
from daemon.trace.service_shape import TraceAnswer, result_of
from daemon.trace.walk.cookies import Jar
from daemon.trace.walk.hops import HopAnswer, Identity, Landed, Limits
from daemon.trace.walk.steps import Walk
from daemon.trace.wire.http1 import Garbled, Http1Client
from daemon.trace.wire.socks import open_socks_tunnel
from daemon.trace.wire.stream import CountedStream, HopError, Meter, TooManyBytes, WireStream
from daemon.web.addresses import refused_host
from daemon.web.headers import is_host_in, parsed, wire_url
from daemon.web.query import Inbound, extracted_params, parse_click, with_params
from daemon.web.strict_json import decode_json

PAGE_BYTES, HEAD_BYTES = 16_384, 65_536  # the defaults of trace.body_bytes_max and of the limits of heads
SOCKS_BYTES = 263
SOURCE = Source(URL("http://ads.example/a/b"), None, 10)
LIMITS = Limits(hops_max=20, allow_private=False, stop_at=frozenset({"shop.example"}))
TRUSTED = trusted_proxies(["0.0.0.0/0", "::/0"])
TEMPLATE = "http://ads.example/{a}/{b}?" + "&".join(f"{name}={{{name}}}" for name in "abcdefgh")

_ANSWER = TypeAdapter(TraceAnswer)
Make = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Parser:
    """The daemon gives `read` at most `bytes_max` bytes; `shapes` create inputs of about a given size."""

    name: str
    bytes_max: int
    read: Callable[[bytes], object]
    shapes: dict[str, Make]


def repeated(*units: str, before: str = "", after: str = "") -> Make:
    """`before`, then each unit repeated over an equal share of the size, then `after`."""

    def make(size: int) -> bytes:
        room = (size - len(before.encode()) - len(after.encode())) // len(units)
        return (before + "".join(unit * (room // len(unit.encode())) for unit in units) + after).encode()

    return make


def numbered(pattern: str, *, before: str = "", after: str = "", share: float = 1) -> Make:
    """`pattern` repeated, each time with the next hexadecimal number in place of `%x`."""

    def make(size: int) -> bytes:
        pieces = (pattern % number for number in itertools.count())
        return (before + _filled(pieces, int(size * share) - len(before) - len(after)) + after).encode()

    return make


def joined(*makes: Make) -> Make:
    """All of the shapes, each over an equal share of the size."""
    return lambda size: b"".join(make(size // len(makes)) for make in makes)


def _filled(pieces: Iterator[str], size: int) -> str:
    found, characters = [], 0
    for piece in pieces:
        characters += len(piece)
        if characters > size:
            break
        found.append(piece)
    return "".join(found)


def _script(*units: str, before: str = "location;", after: str = "") -> Make:
    return repeated(*units, before=f"<script>{before}", after=f"{after}</script>")


SCRIPTS: dict[str, Make] = {
    "regular expressions without an end": repeated("/[", "a", before="<script>location;", after="</script>"),
    "slashes and classes": _script("/["),
    "slashes and escapes": _script("=/\\"),
    "unclosed strings": _script("'\\\r\n"),
    "comments": _script("/**/ "),
    "unclosed comments": _script("/*"),
    "templates": _script("`${`"),
    "semicolons": _script(";"),
    "names": _script("a "),
    "windows": _script("this;"),
    "calls": _script("a(1,", ")"),
    "conditions": _script("if(a);else "),
    "conditions without parentheses": _script("if "),
    "conditions without a condition": _script("if(a)location=1;else "),
    "blocks": _script("{", "}"),
    "functions": _script("(function(){", "})()"),
    "declared functions": _script("function a(){location=1}"),
    "arrows": _script("()=>"),
    "returns": _script("a;", before="location;(function(){", after="})()"),
    "parentheses": _script("(", ")", before="location="),
    "indexes": _script("location[", "]"),
    "literals": _script("1,", before="location(", after=")"),
    "timers in texts": _script("setTimeout('"),
    "escapes": _script("\\u{0", before="location='", after="'"),
    "long escapes": _script("0", before="location='\\u{", after="'"),
    "lines": _script("\n-->"),
    "many scripts": repeated("<script>location=a</script>"),
    "short scripts": repeated("<script>a()</script>"),
    "functions that call the next": numbered("function f%x(){g();h()}", before="<script>location;", after="</script>"),
    "functions in functions": _script("a(function(){", "})"),
    "arrows in arguments": _script("a(()=>b,", ")"),
    "arrows in arrows": _script("a=>b=>"),
    "assigned functions": _script("a=b.c=function(){};"),
    "statements for frames": _script("if(top!=self)a;"),
    "statements for frames in each other": _script("if(top!=self)"),
    "scripts in texts": _script("eval('location=1');"),
    "timers": numbered("setTimeout(function(){f%x()},1)", before="<script>location;", after="</script>"),
    "timers in timers": _script("setTimeout(()=>", ",9)"),
    "listeners": _script("a.on('click load',function(){location=1});"),
    "calls of declared functions": _script("a();", before="function a(){b()}function b(){c()}function c(){}"),
    "doubled calls": repeated(
        *(f"function a{at}(){{a{at + 1}();a{at + 1}()}}" for at in range(40)), before="<script>", after="a0()</script>"
    ),
    "tries": _script("try{", "}catch(e){}"),
    "sums of texts": _script("'a'+", before="location="),
    "handlers": repeated("<p onx='a(location=1)'>"),
    "handlers of one element": numbered("on%x=location=1 ", before="<p ", after=">"),
    "named calls": numbered("<script>f%x()</script>"),
    "bad targets": repeated("<script>location='//['</script>"),
    "onload": repeated("location;onload=a;", before="<body onload='", after="'>"),
}

FORMS: dict[str, Make] = {
    "submits of a form that is not there": repeated("<script>document.forms.a.submit()</script>"),
    "submits by selector": repeated("<script>document.querySelector('#a').submit()</script>"),
    "submits at the page's load": repeated(
        "<b>", "<script>onload=function(){document.a.submit()}</script>", before="<form name=a>"
    ),
    "submits in the middle": repeated("<b>", "<script>document.forms.a.submit()</script>"),
    "submits to another window": repeated("<script>document.forms[0].submit()</script>", before="<form target=x>"),
    "fields": repeated("<input name=a>", before="<form>", after="</form><script>document.forms[0].submit()</script>"),
    "disabled fieldsets": repeated(
        "<fieldset disabled>", before="<form>", after="<script>document.forms[0].submit()</script>"
    ),
    "fieldsets in legends": repeated(
        "<fieldset disabled><legend>", before="<form>", after="<script>document.forms[0].submit()</script>"
    ),
    "data lists": repeated("<datalist>", before="<form>", after="<script>document.forms[0].submit()</script>"),
    "fields with directions": repeated(
        "<div>", "<input name=a dirname=b>", before="<form>", after="<script>document.forms[0].submit()</script>"
    ),
    "forms in tables": repeated("<table><form>", "<input name=a>", after="<script>document.forms[0].submit()</script>"),
    "options": repeated(
        "<option selected>", before="<form><select multiple name=a>",
        after="</select></form><script>document.forms[0].submit()</script>",
    ),
    "what the encoding lacks": repeated(
        "&Pi;&yen;", before="<meta charset=iso-8859-1><form><input name=a value='",
        after="'></form><script>document.forms[0].submit()</script>",
    ),
}  # fmt: skip

MARKUP: dict[str, Make] = {
    "text": repeated("x"),
    "tags": repeated("<p>"),
    "deep": repeated("<div>"),
    "deep formatting": repeated("<b>"),
    "end tags at depth": repeated("<q>", "</x>"),
    "paragraphs at depth": repeated("<q>", "</p>"),
    "headings at depth": repeated("<q>", "</h1>"),
    "svg at depth": repeated("<g>", "</x>", before="<svg>"),
    "lists": repeated("<ul><li>"),
    "terms at depth": repeated("<rb>", "<dd>"),
    "ruby at depth": repeated("<q>", "<rt>"),
    "formatting in blocks": repeated("<a><div>"),
    "ends of formatting in blocks": joined(numbered("<font a%x><div>"), repeated("</font>")),
    "reopened formatting": numbered("<p><b %x>"),
    "reopened plain formatting": repeated("<p>x", before="<p>" + "<b><i><u><s><em><tt><big><code>" * 3),
    "formatting for each paragraph": joined(numbered("<b %x>", before="<p>", after="</p>"), repeated("<p>x")),
    "formatting before objects": joined(numbered("<b %x>"), repeated("<object>")),
    "anchors": numbered("<p><a %x>"),
    "attributes": numbered("a%x ", before="<p "),
    "the same attribute": repeated("a ", before="<p "),
    "attributes of the root": joined(numbered("a%x ", before="<html ", after=">"), repeated("<html b>")),
    "attributes of the body": joined(numbered("a%x ", before="<body ", after=">"), numbered("<body b%x>")),
    "tables": repeated("<table><td>"),
    "foster parents": repeated("x<b>", before="<table>"),
    "menus": repeated("<option>", before="<select>"),
    "templates": repeated("<template>"),
    "unclosed comments": repeated("<!--"),
    "unclosed tags": repeated("<"),
    "starts of an end of a script": repeated("</script", before="<script>"),
    "scripts in comments": repeated("<script", before="<script><!--"),
    "starts of an end of a text area": repeated("</textarea", before="<textarea>"),
    "references": repeated("&amp"),
    "unknown references": repeated("&notin"),
    "noscript": repeated("<noscript>"),
    "metas": repeated("<meta charset=x>"),
    "refreshes that lead nowhere": repeated("<meta http-equiv=refresh content='0;//['>"),
    "refreshes with a long base": joined(
        repeated("a/", before="<base href='http://a/", after="'>"),
        repeated("<meta http-equiv=refresh content='0;//['>"),
    ),
    "charsets": repeated("<meta http-equiv=content-type content='charset  '>"),
    "decoded twice": repeated("é<p>", before="<meta charset=shift_jis>"),
    "a long host": lambda size: "".join(
        ("<script>location='http://", *(chr(0x4E00 + at % 20_000) for at in range((size - 50) // 3)), "/'</script>")
    ).encode(),
}


def _decoder(*codings: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        body = _page_body(", ".join(codings))
        for at in range(0, len(data), 64):
            body.feed(data[at : at + 64])
        body.end(whole=True)
        return body.page

    return read


def _page_body(coding: str = "") -> PageBody:
    headers = ((b"Content-Type", b"text/html"), (b"Content-Encoding", coding.encode()))
    body = page_body(SOURCE.url, headers, PAGE_BYTES, 10)
    assert body is not None
    return body


def _read_page(data: bytes) -> object:
    return read_page(data, SOURCE, whole=True)


def _read_pieces(piece_bytes: int) -> Callable[[bytes], object]:
    """Read the body in pieces as from a slow server: parse again after each doubling, as wire/http1.py does."""

    def read(data: bytes) -> object:
        body = _page_body()
        look_at = piece_bytes
        for at in range(0, len(data), piece_bytes):
            body.feed(data[at : at + piece_bytes])
            if at >= look_at:
                body.look(slow=True)
                body.enough = False  # else a page with much text costs less than half of it
                look_at *= 2
        body.end(whole=True)
        return body.page

    return read


def encoded(*encoders: Callable[[bytes], bytes], data: bytes = bytes(20_000_000)) -> Make:
    """The beginning of `data`, encoded by one encoding after the other."""
    whole = cache(lambda: reduce(lambda made, encoder: encoder(made), encoders, data))
    return lambda size: whole()[:size]


def _brotli(bits: int) -> Callable[[bytes], bytes]:
    return lambda data: brotli.compress(data, quality=5, lgwin=bits)


_GZIP_HEAD, _EMPTY_BLOCK = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0\0\0\xff\xff"
_EMPTY_BLOCKS = _GZIP_HEAD + _EMPTY_BLOCK * 3_000_000
CODED: dict[tuple[str, ...], dict[str, Make]] = {
    ("gzip",): {"zeros": encoded(gzip.compress), "empty blocks": encoded(data=_EMPTY_BLOCKS)},
    ("deflate",): {"zeros": encoded(zlib.compress)},
    ("br",): {f"zeros, a window of {bits} bits": encoded(_brotli(bits)) for bits in (16, 22, 24)},
    ("zstd",): {
        "zeros": encoded(zstd.compress),
        "empty blocks": lambda size: b"\x28\xb5\x2f\xfd\x00\x98" + b"\0\0\0" * (size // 3 - 2),
    },
    ("gzip", "gzip"): {
        "empty blocks in gzip": encoded(gzip.compress, data=_EMPTY_BLOCKS),
        "zeros in gzip": encoded(gzip.compress, gzip.compress),
    },
    ("br", "br"): {"zeros in br": encoded(_brotli(24), _brotli(24))},
}


class _Played:
    """A fake peer that sends `pieces`."""

    def __init__(self, data: bytes, piece_bytes: int) -> None:
        self._pieces = (data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes))

    async def send_all(self, data: bytes) -> None:
        """Discard the data."""

    async def receive_some(self, bytes_max: int) -> bytes:
        return next(self._pieces, b"")


class _Unused(CountedStream):
    def __init__(self) -> None:
        self._meter = Meter()


def _finished(work: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def _read_head(piece_bytes: int) -> Callable[[bytes], object]:
    """Parse an answer's head and take the walk's next step."""

    def read(data: bytes) -> object:
        stream = WireStream(_Played(data, piece_bytes), _Unused())
        stream.allow(HEAD_BYTES)
        exchange = Http1Client(stream)
        try:
            answered = _finished(exchange.ask("GET", "/", []))
        except (Garbled, HopError, TooManyBytes) as garbled:
            return garbled
        finally:
            exchange.close()
        assert isinstance(answered, tuple)
        return _walked(*answered)

    return read


def _walked(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> object:
    walk = Walk("http://ads.example/a?b", Identity("x"), LIMITS)
    walk.start()
    walk.body(status, headers)
    step = walk.answered(HopAnswer(status, headers, 1.0, 1, 1))
    return extracted_params(step.url) if isinstance(step, Landed) else step


def _answer(head: str, *units: str, after: str = "\r\n\r\n", status: int = 302) -> Make:
    return repeated(*units, before=f"HTTP/1.1 {status} X\r\n{head}", after=after)


def _location(*units: str, before: str = "") -> Make:
    return _answer("Location: " + before, *units)


HEADS: dict[str, Make] = {
    "header lines": _answer("", "a:\r\n", after="\r\n"),
    "a long header": _answer("a:", "x"),
    "a long name": _answer("", "x", after=":\r\n\r\n"),
    "folded lines": _answer("a:", "x\r\n "),
    "lines without a colon": _answer("", "a\r\n", after="\r\n"),
    "names with blanks": _answer("", "a b:\r\n", after="\r\n"),
    "folded lines behind a name with a blank": _answer("a :", "x\r\n ", after="\r\n\r\n"),
    "lengths behind a name with a blank": _answer("a : b\r\nContent-Length:", "5,"),
    "line ends": _answer("a : b\r\n", "\r"),
    "cookies": _answer("", "Set-Cookie:a=b\r\n", after="\r\n"),
    "cookies of a long URL": _answer("", "Set-Cookie:a\r\n", after="Location: /\r\n\r\n"),
    "attributes of a cookie": _answer("Set-Cookie: a=b", ";a"),
    "paths of cookies": _answer("", "Set-Cookie:a;path=/" + "a/" * 500 + "\r\n", after="\r\n"),
    "dates of cookies": _answer("", "Set-Cookie:a;expires=" + "1 " * 30 + "\r\n", after="\r\n"),
    "content codings": _answer("Content-Encoding: ", "br,", status=200),
    "lines of content codings": _answer("", "Content-Encoding:\r\n", after="\r\n", status=200),
    "charsets": _answer("Content-Type: text/html;", "charset  ", status=200),
    "lengths": _answer("", "Content-Length: 5\r\n", after="\r\n"),
    "lengths behind a long header": _answer("a:", "x", "\r\nContent-Length: 5"),
    "a long length": _answer("Content-Length: 5\r\nContent-Length: ", "1"),
    "refreshes": _answer("Refresh: 0", ".", status=200),
    "a location of dots": _location(".", before="http://a"),
    "a location of labels": _location("a.", before="http://"),
    "a location that goes up": _location("a/", "../", before="http://a.example/"),
    "a location that goes up by escapes": _location("a/", "%2e%2E/", before="http://a.example/"),
    "a location of userinfo": _location("a@", before="http://"),
    "a location of escapes": _location("%61", before="http://"),
    "a location of parameters": _location("a&", before="http://a.example/?"),
    "a location of spaces": _location("é ", before="http://a.example/?"),
    "a location of tabs": _location("\t", before="http://a.example/"),
    "a location of an address": _location("1:", before="http://["),
    "a location of one letter": _location("é", before="http://"),
    "interim answers": repeated("HTTP/1.1 100 C\r\n\r\n"),
}

REQUEST = "GET /track-hit?offer=a HTTP/1.1\r\nHost: a\r\n"


def _read_requests(piece_bytes: int) -> Callable[[bytes], object]:
    def read(data: bytes) -> object:
        http = PlainHTTP(head_bytes_max=HEAD_BYTES)
        requests = 0
        try:
            for at in range(0, len(data), piece_bytes):
                http.receive(data[at : at + piece_bytes])
                while (found := http.next_request()) is not None:
                    requests += 1
                    if isinstance(found, Refusal):
                        return requests
        finally:
            http.close()
        return requests

    return read


REQUESTS: dict[str, Make] = {
    "header lines": repeated("a:\r\n", before=REQUEST, after="\r\n"),
    "a long header": repeated("x", before=REQUEST + "a:", after="\r\n\r\n"),
    "a long target": repeated("a", before="GET /", after=" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a target of broken escapes": repeated("%", before="GET /", after=" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long target of UTF-8": repeated("é", before="GET /", after=" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a long host": repeated("a.", before="GET / HTTP/1.1\r\nHost: ", after="\r\n\r\n"),
    "pipelined requests": repeated(REQUEST + "\r\n"),
    "pipelined upgrades": repeated(REQUEST + "Connection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
    "chunks": repeated("1\r\nx\r\n", before=REQUEST + "Transfer-Encoding: chunked\r\n\r\n"),
    "empty lines": repeated("\r\n"),
}


def _read_query(data: bytes) -> object:
    """Process a click's query up to the visitor's redirect."""
    inbound = parse_click(data)
    if not isinstance(inbound, Inbound):
        return inbound
    template = template_of(macro_url(TEMPLATE)[0])
    assert template is not None
    target = template.expanded(inbound, UUID(int=0))
    return with_params(target, inbound.params), with_params("http://a.example/?a&a&b", inbound.params)


QUERIES: dict[str, Make] = {
    "scattered brackets": repeated(">a", before="offer=a&a="),
    "parameters": repeated("a=&", before="offer=a&"),
    "a thousand parameters": lambda size: (b"a=" + b"x" * (size // 900) + b"&") * 890 + b"offer=a",
    "scattered escapes": repeated("%61a", before="offer=a&a="),
    "escapes": repeated("%61", before="offer=a&a="),
    "broken escapes": repeated("%", before="offer=a&a="),
    "scattered spaces": repeated(" a", before="offer=a&a="),
    "what no header holds": repeated("é<", before="offer=a&a="),
    "pluses": repeated("+", before="offer=a&a="),
    "macros": repeated("{a}", before="offer=a&a="),
    "a long name": repeated("a", before="offer=a&"),
}


def _read_forwarded(data: bytes) -> object:
    return visitor_of("192.0.2.1", [(b"x-forwarded-for", data)], TRUSTED)


def _read_rfc_7239(data: bytes) -> object:
    return visitor_of("192.0.2.1", [(b"forwarded", data)], TRUSTED)


RFC_7239: dict[str, Make] = {
    "addresses": repeated('for="[::1]:1",'),
    "commas": repeated(","),
    "quotes": repeated('for=",'),
    "escapes": repeated('a="\\",'),
    "pairs": repeated("a=b;", before='for="', after=","),
    "blanks": repeated(" ", ";"),
}


FORWARDED: dict[str, Make] = {
    "addresses": repeated("::1,", after="::1"),
    "IPv4": repeated("1.1.1.1, ", after="1.1.1.1"),
    "commas": repeated(","),
    "one": repeated("1:"),
}


def _read_url(data: bytes) -> object:
    text = data.decode("utf-8", "replace")
    if (url := parsed(text, SOURCE.url.href)) is None:
        return None
    return (
        refused_host(url.href),
        is_host_in(url.hostname, LIMITS.stop_at),
        wire_url(url.href),
        with_params(url.href, ()),
        extracted_params(url.href),
    )


URLS: dict[str, Make] = {
    name.removeprefix("a location of "): lambda size, make=make: make(size + 40).split(b"Location: ")[1].rstrip()
    for name, make in HEADS.items()
    if name.startswith("a location")
} | {
    "different letters": lambda size: ("http://" + "".join(chr(0x4E00 + at) for at in range(size // 3))).encode(),
    "letters with tabs": lambda size: ("h\tttp:" + "".join(chr(0x4E00 + at) for at in range(size // 3))).encode(),
    "marks": repeated("\u0316\u0300", before="http://a"),
}


def _read_service_answer(data: bytes) -> object:
    try:
        answer = _ANSWER.validate_python(decode_json(data))
    except ValueError:
        return None
    return result_of(answer, LIMITS, 1.0)


_STEP = '{"url":"http://a.example/","status":302},'
SERVICE: dict[str, Make] = {
    "arrays": repeated("["),
    "closed arrays": repeated("[", "]"),
    "hops": repeated(_STEP, before='{"success":false,"chain":[', after='{"url":""}]}'),
    "keys": numbered('"%x":1,', before='{"success":true,', after='"a":1}'),
    "parameters": repeated(
        "a&", before='{"success":true,"chain":[{"url":"a"}],"final_url":"http://a.example/?', after='"}'
    ),
    "what cannot be shown": repeated("\\u0001", before='{"success":false,"error":"', after='"}'),
}


def _read_socks(data: bytes) -> object:
    stream = WireStream(_Played(data, 1), _Unused())
    try:
        return _finished(open_socks_tunnel(stream, "a.example", 80, None, None))
    except HopError as error:
        return error


CHARSETS = {
    "names": repeated("charset"),
    "blanks": repeated(" ", before="charset="),
    "quotes": repeated("charset='charset=\""),
}


def _read_cookies(data: bytes) -> object:
    url, jar = URL("http://ads.example/" + "a/" * 8_000), Jar()
    jar.keep(url, [(b"Set-Cookie", line) for line in data.split(b"\n")])
    return jar.header(url)


PARSERS = [
    Parser("page: markup", PAGE_BYTES, _read_page, MARKUP),
    Parser("page: scripts", PAGE_BYTES, _read_page, SCRIPTS),
    Parser("page: forms", PAGE_BYTES, _read_page, FORMS),
    Parser("page in pieces of 1 KiB", PAGE_BYTES, _read_pieces(1_024), MARKUP | SCRIPTS | FORMS),
    Parser("page in pieces of 7 bytes", PAGE_BYTES, _read_pieces(7), {"text": MARKUP["text"], "tags": MARKUP["tags"]}),
    *(Parser(f"page: {', '.join(codings)}", PAGE_BYTES, _decoder(*codings), CODED[codings]) for codings in CODED),
    Parser("answer's head", HEAD_BYTES, _read_head(16_384), HEADS),
    Parser("answer's head in pieces of 64 bytes", HEAD_BYTES, _read_head(64), HEADS),
    Parser("requests", HEAD_BYTES, _read_requests(16_384), REQUESTS),
    Parser("requests in pieces of 64 bytes", HEAD_BYTES, _read_requests(64), REQUESTS),
    Parser("click's query", HEAD_BYTES, _read_query, QUERIES),
    Parser(
        "X-Forwarded-For", HEAD_BYTES, _read_forwarded,
        FORWARDED,
    ),
    Parser("Forwarded", HEAD_BYTES, _read_rfc_7239, RFC_7239),
    Parser("URL", HEAD_BYTES, _read_url, URLS),
    Parser("trace service's answer", 1_048_576, _read_service_answer, SERVICE),
    Parser("SOCKS reply", SOCKS_BYTES, _read_socks, {"a name": lambda size: b"\5\0\5\0\0\3\xff" + bytes(size - 7)}),
    Parser("charset", HEAD_BYTES, lambda data: charset_in(data.decode()), CHARSETS),
    Parser("cookies of a long URL", HEAD_BYTES, _read_cookies, {"cookies": numbered("a%x=b\n")}),
]  # fmt: skip


_PAGE_WORDS = (
    "<p>", "<b>", "<a>", "<i x>", "<div>", "<table>", "<tr>", "<td>", "<select>", "<option>", "<form>",
    "<input name=a>", "<fieldset disabled>", "<object>", "<template>", "<svg>", "<math>", "<ul>", "<li>", "<html a>",
    "<body b>", "<nobr>", "</p>", "</b>", "</a>", "</i>", "</div>", "</table>", "</td>", "</select>", "</form>",
    "</object>", "</svg>", "</x>", "<!--", "-->", "<script>", "</script>", "<textarea>", "</textarea>",
    "<meta http-equiv=refresh content=9>",
    "x", "&", "<base href=/a/>", "<script>location=a</script>", "<script>document.forms[0].submit()</script>",
    "<h1>", "<button>",
)  # fmt: skip
_SCRIPT_WORDS = (
    "location", "this", ".", "=", "(", ")", "[", "]", "{", "}", "/", "/[", "/*", "*/", "//", "\n", "'", '"', "`", "${",
    "\\", ";", ",", "if(a)", "else ", "function a(){", "()=>", "return ", "a", "1", "submit()", "setTimeout(",
    "onload=", "in ", "<!--", "-->", "\\u{0", "try{", "}catch(e){", " ",
)  # fmt: skip
_URL_WORDS = (
    "a",
    "/",
    "../",
    "%2e",
    ".",
    "@",
    ":",
    "?",
    "#",
    "&",
    "=",
    "é",
    "中",
    "\t",
    "\\",
    "xn--",
    "[",
    "%",
    "http:",
)
_HEAD_WORDS = (
    "a:b\r\n", "Set-Cookie:a=b\r\n", "Set-Cookie:c;path=/a/b\r\n", "Location:/a\r\n", "\r\n", " ", "\r", "\n", ":", ";",
    "Content-Type:text/html\r\n", "Content-Encoding:br\r\n", "Content-Length:5\r\n", "Refresh:0\r\n", "=", "é", ",",
    "Transfer-Encoding:chunked\r\n", "Connection:upgrade\r\n", "Host:a\r\n", "1\r\nx\r\n", "GET / HTTP/1.1\r\n",
)  # fmt: skip
_BEFORE: dict[str, tuple[str, tuple[str, ...]]] = {
    "page: markup": ("", _PAGE_WORDS),
    "page: scripts": ("<script>location;", _SCRIPT_WORDS),
    "page in pieces of 1 KiB": ("", _PAGE_WORDS),
    "answer's head": ("HTTP/1.1 302 X\r\n", _HEAD_WORDS),
    "requests": (REQUEST, _HEAD_WORDS),
    "click's query": ("offer=a&", _URL_WORDS),
    "URL": ("http://a", _URL_WORDS),
}
COMPOSED = [parser for parser in PARSERS if parser.name in _BEFORE]


def composed(parser: Parser, seed: int) -> Make:
    """A random shape: up to four phrases of a parser's words, each repeated over its share of the input."""
    before, words = _BEFORE[parser.name]
    chance = Random(f"{parser.name} {seed}")
    phrases = ["".join(chance.choices(words, k=chance.choice((1, 1, 2, 3)))) for _ in range(chance.randint(1, 4))]
    return repeated(*phrases, before=before, after=chance.choice(("", "</script>", "\r\n\r\n")))
