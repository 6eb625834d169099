"""Redirect chains for tests of any tracer over real sockets: the origins' replies, the landing and the kinds of hops.

`pages` are replies by `host/path?query`, for an Origin (origins.py). Hosts are those of net.py; the first request goes
to `start`. `kinds` are those of redirect_chain; a landing that is not fetched has none. `posted` has the bodies of
posted forms, by path.
"""

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import brotli
from backports import zstd

from tests.fakes.net import START
from tests.fakes.origins import Reply, page, redirect, reply

Replies = dict[str, Reply | list[Reply]]
LANDED = page(b"<!doctype html><title>Shop</title><p>Welcome.")
LANDING = "http://b.example/landed?cid=7"


@dataclass(frozen=True, slots=True)
class Chain:
    """One chain. `stop_at` and `landing_schemes` are settings of its offer."""

    name: str
    pages: Mapping[str, Reply | list[Reply]]
    final_url: str
    kinds: tuple[str, ...]
    start: str = START
    stop_at: frozenset[str] = frozenset()
    landing_schemes: frozenset[str] = frozenset()
    posted: Mapping[str, bytes] = field(default_factory=dict)


def says(
    body: str | bytes, *headers: tuple[str, str], kind: str = "text/html; charset=utf-8", status: int = 200
) -> Reply:
    """A page with this body."""
    data = body.encode() if isinstance(body, str) else body
    return reply(status, ("Content-Type", kind), *headers, body=data)


def leads(first: Reply | list[Reply], *kinds: str, more: Replies | None = None) -> tuple[Replies, str, tuple[str, ...]]:
    """A chain from START's answer to LANDING."""
    return {"ads.example/start": first, "b.example/landed?cid=7": LANDED, **(more or {})}, LANDING, (*kinds, "final")


def stays(first: Reply, kind: str = "final") -> tuple[Replies, str, tuple[str, ...]]:
    """A chain that ends with START's answer."""
    return {"ads.example/start": first}, START, (kind,)


def form(method: str, *, script: str = "<script>document.forms[0].submit()</script>", body: str = "<body>") -> str:
    field_names = "<input type=hidden name=cid value=7>"
    return f"<!doctype html>{body}<form action=http://b.example/landed method={method}>{field_names}</form>{script}"


META = f'<meta http-equiv="refresh" content="0; url={LANDING}">'
JUMP = f"<script>location.replace('{LANDING}')</script>"
TO = f"location = '{LANDING}'"
SHOP_TEXT = "<p>" + "All that you need, at prices that you like. " * 20
# A large page: more than the daemon reads, with a jump that no browser would follow.
LARGE = f"<!doctype html><title>Shop</title><style>{'a{b:c}' * 500}</style>{SHOP_TEXT * 400}{META}"

HTTP: list[Chain] = [
    Chain("a redirect", *leads(redirect(LANDING), "http")),
    Chain("five redirects", *leads(
        redirect("/two", status=301), "http", "http", "http", "http", "http",
        more={
            "ads.example/two": redirect("http://b.example/three", status=302),
            "b.example/three": redirect("//c.example/four", status=303),
            "c.example/four": redirect("http://d.example/five", status=307),
            "d.example/five": redirect(LANDING, status=308),
        },
    )),
    Chain("a redirect before a Refresh header and a page's jump", *leads(
        says("<script>location = '/no'</script>", ("Location", LANDING), ("Refresh", "0;url=/no"), status=302), "http"
    )),
    Chain("a Refresh header", *leads(says("", ("Refresh", f"0;url={LANDING}")), "refresh-header")),
    Chain("a Refresh header in quotes", *leads(says("", ("Refresh", f"3; URL='{LANDING}'")), "refresh-header")),
    Chain("a Refresh header of what is no page", *leads(
        says("hi", ("Refresh", f"0, {LANDING}"), kind="text/plain"), "refresh-header"
    )),
    Chain("a Refresh header that is due before what its page says", *leads(
        says("<meta http-equiv=refresh content='5;/no'>", ("Refresh", f"2;url={LANDING}")), "refresh-header"
    )),
    Chain("a Refresh header that waits too long lands", *stays(says("", ("Refresh", "11;url=/no")))),
    Chain("a Refresh header that reloads the page lands", *stays(says("", ("Refresh", "5")))),
    Chain("a Refresh header that waits too long and a meta", *leads(says(META, ("Refresh", "60")), "meta")),
    Chain("a redirect without a Location says what its page says", *leads(says(META, status=302), "meta")),
]  # fmt: skip

METAS: list[Chain] = [
    Chain("a meta refresh", *leads(says(META), "meta")),
    Chain("a meta refresh of a page that is not there", *leads(says(META, status=404), "meta")),
    Chain("a meta refresh in XHTML", *leads(says(META, kind="application/xhtml+xml"), "meta")),
    Chain("a meta refresh that waits ten seconds", *leads(
        says(f"<meta http-equiv=refresh content='10;{LANDING}'><p>In ten seconds …"), "meta"
    )),
    Chain("a meta refresh that waits eleven seconds lands", *stays(
        says(f"<meta http-equiv=refresh content='11;{LANDING}'>")
    )),
    Chain("the last of two equal meta refreshes", *leads(
        says("<meta http-equiv=refresh content='0;/no'>" + META), "meta"
    )),
    Chain("a meta refresh in noscript, in a comment and in a template lands", *stays(
        says(f"<noscript>{META}</noscript><!-- {META} --><template>{META}</template><p>Shop")
    )),
    Chain("a meta refresh by a base", *leads(
        says("<base href='http://b.example/x/'><meta http-equiv=refresh content='0;../landed?cid=7'>"), "meta"
    )),
    Chain("a meta refresh in windows-1252", {
        "ads.example/start": says("<meta http-equiv=refresh content='0;/ü?q=ü'>".encode("latin-1"), kind="text/html"),
        "ads.example/%C3%BC?q=%FC": LANDED,
    }, "http://ads.example/%C3%BC?q=%FC", ("meta", "final")),
    Chain("a meta refresh in UTF-8 by a meta charset", {
        "ads.example/start": says("<meta charset=utf-8><meta http-equiv=refresh content='0;/ü?q=ü'>", kind="text/html"),
        "ads.example/%C3%BC?q=%C3%BC": LANDED,
    }, "http://ads.example/%C3%BC?q=%C3%BC", ("meta", "final")),
    Chain("a meta refresh in UTF-16", *leads(
        says(b"\xff\xfe" + META.encode("utf-16-le"), kind="text/html"), "meta"
    )),
    Chain("a meta refresh behind a page of styles", *leads(
        says(f"<style>{'a{b:c}' * 2_000}</style>{META}"), "meta"
    )),
    Chain("a meta refresh behind many empty lines", *leads(says("\n" * 3_000 + META), "meta")),
    Chain("a page that refreshes itself lands", *stays(says("<meta http-equiv=refresh content=5><p>News"))),
    Chain("a page that refreshes itself with a cookie", *leads(
        [says("<meta http-equiv=refresh content='0;/start'>", ("Set-Cookie", "seen=1")), redirect(LANDING)],
        "meta", "http",
    )),
    Chain("a meta refresh to a place on the same page", {
        "ads.example/start": says("<meta http-equiv=refresh content='0;#offer'>")
    }, START + "#offer", ("final",)),
    Chain("a meta refresh in a text file lands", *stays(says(META, kind="text/plain"))),
    Chain("a page without a type", *leads(reply(200, body=b"<!DOCTYPE html>" + META.encode()), "meta")),
    Chain("a text without a type lands", *stays(reply(200, body=b"A text: " + META.encode()))),
]  # fmt: skip

SCRIPTS: list[Chain] = [
    *(
        Chain(f"a script that says {code[:40]}", *leads(says(f"<script>{code}</script>"), "script"))
        for code in (
            TO,
            f'location.href="{LANDING}"',
            f"window.location.href='{LANDING}';",
            f"location.replace('{LANDING}')",
            f"self.location.assign('{LANDING}')",
            f"top.document.location = '{LANDING}'",
            f"document.location.href = '{LANDING}'",
            f"parent.location.replace('{LANDING}')",
            r"location = 'http:\/\/b.example\x2flanded\u003fcid=7'",
            f"<!--\n{TO}\n//-->",
            f"window.opener = null; {TO}",
        )
    ),
    Chain("a body's onload", *leads(says(f'<body onload="{TO}"><p>One moment …'), "script")),
    Chain("a window's onload", *leads(says(f"<script>window.onload = function () {{ {TO} }}</script>"), "script")),
    Chain("a script in a page with words", *leads(says(f"<title>x</title><p>You are redirected.{JUMP}"), "script")),
    Chain("a script, its meta for others in noscript", *leads(
        says(f"<noscript><meta http-equiv=refresh content='0;/no'></noscript>{JUMP}"), "script"
    )),
    Chain("a script that computes its target", *leads(
        says("<p>One moment.<script>var id = 3 + 4; location = 'http://b.example/landed?cid=' + id</script>"), "script"
    )),
    Chain("a script that leaves after a moment", *leads(
        says(f"<p>One moment.<script>setTimeout(function () {{ {TO} }}, 1500)</script>"), "script"
    )),
    Chain("a script that is on another host", *leads(
        says("<p>One moment.<script src=//c.example/go.js></script>"), "script",
        more={"c.example/go.js": reply(200, ("Content-Type", "text/javascript"), body=TO.encode())},
    )),
    Chain("a script that is on another host, and not there", *stays(
        says("<p>One moment.<script src=//c.example/go.js></script>")
    )),
    Chain("a script that is on another host, and refused", {
        "ads.example/start": says("<p>One moment.<script src=//d.example/go.js></script>"),
        "d.example/go.js": reply(403),
    }, START, ("script_unresolved",)),
    Chain("a script that sets a cookie and reloads", *leads(
        [says("<script>document.cookie = 'seen=1'; location.reload()</script>"), redirect(LANDING)], "script", "http",
    )),
    Chain("a script that asks for its target", *stays(
        says("<p>One moment.<script>fetch('/to').then(function (r) { location = r.url })</script>"), "script_unresolved"
    )),
    Chain("a script that jumps on a click lands", *stays(says(f'<a href=# onclick="{TO}">Go</a>'))),
    Chain("a script that jumps in a function lands", *stays(says(f"<script>function go() {{ {TO} }}</script><p>Hi"))),
    Chain("a script that jumps under a condition lands", *stays(says(f"<script>if (top != self) {TO}</script><p>Hi"))),
    Chain("a script in a string, a comment and a template lands", *stays(
        says(f'<script>var a = "{TO}" // {TO}\n</script><!-- {JUMP} --><template>{JUMP}</template><p>Hi')
    )),
    Chain("a landing page that is large", *stays(says(LARGE))),
    Chain("a landing page that is small", *stays(says("<p>Hi"))),
    Chain("a landing page that is empty", *stays(says(""))),
    Chain("a script that leads to an app", {
        "ads.example/start": says("<script>location = 'market://details?id=x'</script>")
    }, "market://details?id=x", ("script",), landing_schemes=frozenset({"market"})),
    Chain("a script that leads to an app that the offer does not name lands", *stays(
        says("<script>location = 'exampleapp://open'</script>")
    )),
]  # fmt: skip

FORMS: list[Chain] = [
    Chain("a form by GET", *leads(says(form("get")), "form")),
    Chain("a form by POST", {
        "ads.example/start": says(form("post")), "b.example/landed": LANDED
    }, "http://b.example/landed", ("form", "final"), posted={"/landed": b"cid=7"}),
    Chain("a form by onload", *leads(
        says(form("get", script="", body="<body onload='document.forms[0].submit()'>")), "form"
    )),
    Chain("a form by POST that is answered by 303", *leads(
        says(form("post")), "form", "http", more={"b.example/landed": redirect(LANDING, status=303)}
    ), posted={"/landed": b"cid=7"}),
    Chain("a form by POST that 307 sends on", {
        "ads.example/start": says(form("post")),
        "b.example/landed": redirect("http://c.example/again", status=307),
        "c.example/again": redirect("/end", status=302),
        "c.example/end": LANDED,
    }, "http://c.example/end", ("form", "http", "http", "final"), posted={"/landed": b"cid=7", "/again": b"cid=7"}),
    Chain("a form that waits for a button lands", *stays(says(form("post", script="<button>Go</button>")))),
]  # fmt: skip

CODINGS: list[Chain] = [
    Chain(f"a page in {coding}", *leads(
        says(encode(f"<style>{'a{b:c}' * 100}</style>{META}".encode()), ("Content-Encoding", coding)), "meta"
    ))
    for coding, encode in (
        ("gzip", gzip.compress), ("deflate", zlib.compress), ("br", brotli.compress), ("zstd", zstd.compress)
    )
]  # fmt: skip

STOPS: list[Chain] = [
    Chain("a redirect to where the offer stops", {"ads.example/start": redirect(LANDING)},
          LANDING, ("http",), stop_at=frozenset({"b.example"})),
    Chain("a redirect to below where the offer stops", {"ads.example/start": redirect("http://www.b.example/x")},
          "http://www.b.example/x", ("http",), stop_at=frozenset({"b.example"})),
    Chain("a script that leads to where the offer stops", {"ads.example/start": says(JUMP)},
          LANDING, ("script",), stop_at=frozenset({"b.example"})),
    Chain("a stop that no hop leads to", *leads(redirect(LANDING), "http"),
          stop_at=frozenset({"c.example", "ads.example"})),
    Chain("a form by POST is sent where the offer stops", {
        "ads.example/start": says(form("post")), "b.example/landed": LANDED
    }, "http://b.example/landed", ("form", "final"), stop_at=frozenset({"b.example"}), posted={"/landed": b"cid=7"}),
]  # fmt: skip

MIXED: list[Chain] = [
    Chain("all kinds, one after the other", {
        "ads.example/start": redirect("http://b.example/refresh"),
        "b.example/refresh": says("", ("Refresh", "0;url=http://c.example/meta")),
        "c.example/meta": says("<meta http-equiv=refresh content='0;http://d.example/script'>"),
        "d.example/script": says("<script>location.replace('/form')</script>"),
        "d.example/form": says(form("get")),
        "b.example/landed?cid=7": LANDED,
    }, LANDING, ("http", "refresh-header", "meta", "script", "form", "final")),
]  # fmt: skip

CHAINS: list[Chain] = [*HTTP, *METAS, *SCRIPTS, *FORMS, *CODINGS, *STOPS, *MIXED]
