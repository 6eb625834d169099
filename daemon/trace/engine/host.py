"""The functions that page.js calls: HTML, URLs and encodings as the daemon reads them.

Each takes one text in JSON and returns one in ASCII JSON, because the binding cuts strings at NUL and refuses lone
surrogates. None of them raises for invalid input: it returns null.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from json import JSONDecoder, dumps
from json.encoder import encode_basestring_ascii as quoted
from json.scanner import make_scanner
from urllib.parse import unquote_to_bytes

import webencodings
from ada_url import URL, join_url
from webencodings.labels import LABELS

from daemon.trace.engine.trees import nodes_of, tree_of
from daemon.trace.page.charsets import UTF_8, percent_encoded, url_in_document, without_lone_surrogates
from daemon.web.headers import AUTHORITY_CHARACTERS_MAX, parsed

_WARM_UP_CALLS = 20

_PARTS = ("href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash")
# The parts of a serialized URL of the web.
_WEB_URL = re.compile(
    r"(https?:)//(?:([^:@/]*)(?::([^@/]*))?@)?(\[[^]]*]|[^:/?#]*)(?::(\d+))?(/[^?#]*)(\?[^#]*)?(#.*)?"
)
# The ASCII characters that a query has without percent-encoding (URL 1.3, the special-query percent-encode set).
_QUERY_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "\"#<>'")
_FORM_SAFE = "*-._"  # besides letters and digits (URL 5.2)


def host_functions() -> dict[str, Callable[[str], str]]:
    return {"__tree": _tree, "__parse": _parse, "__url": _url, "__encode": _encode}


def warm_up() -> None:
    """Loads every encoding, because a page's process may open no file, and calls each function.

    Python then has specialized them: the process of a page does not write to their code.
    """
    for label in LABELS:
        webencodings.lookup(label)
    document = "<!doctype html><html><head><title>x</title></head><body a=b>x<!--x--><script>x</script></body>"
    for _ in range(_WARM_UP_CALLS):
        _tree(dumps([document, None]))
        _parse(dumps(["<b>x</b>", "div"]))
        _url(dumps(["parse", "/a?b#c", "https://host.example/", "utf-8"]))
        _url(dumps(["set", "https://host.example/", "search", "a"]))
        for how in ("query", "form", "bytes"):
            _encode(dumps(["a b", "utf-8", how]))


# These touch less memory than json.loads and json.dumps.
_scan = make_scanner(JSONDecoder())  # type: ignore[arg-type]


def _arguments(text: str) -> list[str]:
    """The strings of an array; "" stands for null. A lone surrogate becomes U+FFFD, as in a USVString of Web IDL."""
    found: list[str | None] = _scan(text, 0)[0]
    return [(part if part.isascii() else without_lone_surrogates(part)) if part else "" for part in found]


def _tree(argument: str) -> str:
    """`[html, cut]` → `tree_of`; `cut` is a number or null."""
    html, cut = _arguments(argument)
    return tree_of(html, int(cut) if cut else None)


def _parse(argument: str) -> str:
    """`[html, context]` → `nodes_of`; `context` is a tag or null."""
    return nodes_of(*_arguments(argument))


def _url(argument: str) -> str:
    """`["parse", href, base, encoding]` or `["set", href, part, value]` → the parts of the URL, or null."""
    what, href, third, fourth = _arguments(argument)
    url: URL | None
    if what == "set":
        url = parsed(href)
        if url is not None and third in _PARTS:
            try:
                setattr(url, third, fourth)
            except ValueError:
                return "null"  # ada refuses: an invalid value of href
            url = parsed(url.href) if "|" in fourth else url
    elif third and href.isascii() and len(href) <= AUTHORITY_CHARACTERS_MAX and "|" not in href:
        try:
            return _parts_of(join_url(third, href))
        except ValueError:
            return "null"
    else:
        base = parsed(third or href)
        url = url_in_document(href, base, webencodings.lookup(fourth) or UTF_8) if third and base is not None else base
    return "null" if url is None else _parts_of(url.href)


def _parts_of(href: str) -> str:
    """The parts of a serialized URL. Those of a URL of the web are read from its text, at a third of the time."""
    found = _WEB_URL.fullmatch(href)
    if found is None:
        url = URL(href)
        return dumps({part: getattr(url, part) for part in (*_PARTS, "origin")})
    protocol, username, password, hostname, port, pathname, search, fragment = found.groups("")
    host = f"{hostname}:{port}" if port else hostname
    return (
        f'{{"href":{quoted(href)},"protocol":"{protocol}","username":{quoted(username)},"password":{quoted(password)},'
        f'"host":{quoted(host)},"hostname":{quoted(hostname)},"port":"{port}","pathname":{quoted(pathname)},'
        f'"search":{quoted("" if search == "?" else search)},"hash":{quoted("" if fragment == "#" else fragment)},'
        f'"origin":{quoted(f"{protocol}//{host}")}}}'
    )


def _encode(argument: str) -> str:
    """`[text, encoding, how]` → the text in that encoding, with `&#N;` for characters that the encoding lacks.

    `how` is query (percent-encoded), form (application/x-www-form-urlencoded), bytes (in base64), or name: the name of
    the encoding that `encoding` is a label of, or null.
    """
    text, label, how = _arguments(argument)
    if how == "name":
        found = webencodings.lookup(label)
        return dumps(None if found is None else found.name)
    encoding = webencodings.lookup(label) or UTF_8
    if how == "query":
        return dumps(percent_encoded(text, encoding, _QUERY_SAFE))
    if how == "form":
        return dumps(percent_encoded(text, encoding, _FORM_SAFE + " ").replace("~", "%7E").replace(" ", "+"))
    return dumps(b64encode(unquote_to_bytes(percent_encoded(text, encoding, ""))).decode())
