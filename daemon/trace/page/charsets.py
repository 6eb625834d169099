"""The character encoding of a document, and URLs in that encoding. Pure.

Sources: WHATWG Encoding (labels, by webencodings), HTML 13.2.3.2 (a byte-order mark has precedence over the
Content-Type, and that over a meta element) and URL 4.4 (a query is written in the document's encoding). The default is
windows-1252, as in browsers.
"""

import re
from codecs import CodecInfo
from collections.abc import Iterator, Mapping
from urllib.parse import quote_from_bytes

import webencodings
from ada_url import URL
from webencodings import Encoding

from daemon.web.headers import parsed

UTF_8: Encoding = webencodings.UTF8
_DEFAULT = webencodings.lookup("windows-1252") or UTF_8
_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xfe\xff": "utf-16be", b"\xff\xfe": "utf-16le"}
_CHARSET = re.compile(
    r"charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:\"([^\"]*)\"|'([^']*)'|([^\"'\t\n\f\r ;][^\t\n\f\r ;]*))", re.I
)
# Each character that the encoding lacks copies the rest of its piece, so short pieces keep the time linear.
_ENCODED_AT_ONCE = 1_024
# Where the encoders of the Encoding Standard differ from Python's: characters that stand for others, and characters
# with a result of their own (10.2.2, gb18030 encoder; 12.2.2, ISO-2022-JP encoder).
_FULL_WIDTH = dict(zip(map(ord, "～∥－￠￡￢"), "〜‖\u2212¢£¬", strict=True))
_ENCODED_AS = {"shift_jis": {0xA5: "\\", 0x203E: "~"}, "euc-jp": _FULL_WIDTH, "iso-2022-jp": _FULL_WIDTH}
_ENCODED_OTHERWISE = {
    "gb18030": {"\ue5e5": "%26%2358853%3B"},
    "gbk": {"€": "%80"},
    "iso-2022-jp": dict.fromkeys("\x0e\x0f\x1b", "%26%2365533%3B"),
}
# The ASCII characters that a query has without percent-encoding (URL 1.3, the special-query percent-encode set).
_QUERY_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "\"#<>'")


def declared_encoding(data: bytes, charset: str | None) -> Encoding | None:
    """The encoding of the byte-order mark or the Content-Type's charset, if one of them names a known one."""
    for mark, label in _MARKS.items():
        if data.startswith(mark):
            return webencodings.lookup(label)
    return None if charset is None else webencodings.lookup(charset)


def meta_encoding(metas: list[Mapping[str, str | None]]) -> Encoding:
    """The encoding of the first meta element with a known one; `metas` are the attributes of all, in order."""
    for attributes in metas:
        label = attributes.get("charset")
        if label is None and (attributes.get("http-equiv") or "").lower() == "content-type":
            label = charset_in(attributes.get("content") or "")
        found = None if label is None else webencodings.lookup(label)
        if found is None:
            continue
        # "If charset is UTF-16BE/LE, then set charset to UTF-8" (HTML 13.2.3.2).
        if found.name.startswith("utf-16"):
            return UTF_8
        return _DEFAULT if found.name == "x-user-defined" else found
    return _DEFAULT


def charset_in(text: str) -> str | None:
    """The charset of `text/html; charset="utf-8"` (HTML 2.4.5)."""
    found = _CHARSET.search(text)
    return None if found is None else found[1] or found[2] or found[3]


def decoded(data: bytes, encoding: Encoding) -> str:
    text: str = encoding.codec_info.decode(data, "replace")[0]
    return text.removeprefix("\ufeff")


def percent_encoded(text: str, encoding: Encoding, safe: str) -> str:
    """Percent-encoded after encoding (output encoding, Encoding 4.3); a missing character is %26%23960%3B (URL 1.3)."""
    name = encoding.name
    codec = (UTF_8 if name.startswith("utf-16") or name == "replacement" else encoding).codec_info
    text = without_lone_surrogates(text).translate(_ENCODED_AS.get(name, {}))
    own = _ENCODED_OTHERWISE.get(name, {})
    found = []
    for part in re.split(f"([{''.join(own)}])", text) if own else [text]:
        if part in own:
            found.append(own[part])
            continue
        pieces = (part[at : at + _ENCODED_AT_ONCE] for at in range(0, len(part), _ENCODED_AT_ONCE))
        found += [written for piece in pieces for written in _percent_encoded(piece, codec, safe)]
    return "".join(found)


def _percent_encoded(text: str, codec: CodecInfo, safe: str) -> Iterator[str]:
    while text:
        try:
            data, lacked, text = codec.encode(text, "strict")[0], "", ""
        except UnicodeEncodeError as lacks:
            data = codec.encode(text[: lacks.start], "strict")[0]
            lacked, text = text[lacks.start : lacks.end], text[lacks.end :]
        yield quote_from_bytes(data, safe=safe)
        yield from (f"%26%23{ord(letter)}%3B" for letter in lacked)


def url_in_document(text: str, base: URL, encoding: Encoding) -> URL | None:
    """A URL that a document names, relative to `base` (HTML 2.4.2, encoding-parsing); None where that fails."""
    text = without_lone_surrogates(text)
    if not text.isascii() and encoding.name != "utf-8":
        before, mark, rest = text.partition("?")
        query, hash_mark, fragment = rest.partition("#")
        if "#" not in before and not query.isascii():
            query = percent_encoded(query, encoding, _QUERY_SAFE)
            text = before + mark + query + hash_mark + fragment
    return parsed(text, base.href)


def without_lone_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
