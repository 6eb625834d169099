"""The MIME type of an answer, as Fetch and MIME Sniffing read it. Pure."""

import re
from dataclasses import dataclass

from daemon.web.headers import RawHeaders, values_of

HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
# "If the supplied MIME type is undefined or its essence is …, execute the rules for identifying an unknown MIME type"
# (MIME Sniffing 7). Fetch reads */* as no type.
_UNKNOWN_TYPES = frozenset({"unknown/unknown", "application/unknown"})
_WHITESPACE = "\t\n\r "
_PART = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+(?:"|\\?\Z))*+', re.DOTALL)
_ESSENCE = re.compile(r"([!#$%&'*+.^_`|~\w-]+/[!#$%&'*+.^_`|~\w-]+)[\t\n\r ]*(?:;|\Z)", re.ASCII)
_PARAMETER = re.compile(r'[\t\n\r ]*([^;=]*)(?:=(?:"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)[^;]*|([^;]*)))?(?:;|\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class ContentType:
    """`essence` is type/subtype in lower case; None if the answer names no type, so that its bytes are sniffed."""

    essence: str | None = None
    charset: str | None = None


def content_type_of(headers: RawHeaders) -> ContentType:
    """The last valid type of all fields (Fetch 3.5, extract a MIME type). A charset stays while the essence does."""
    found = ContentType()
    for text in _split(headers, b"content-type"):
        began = _ESSENCE.match(text)
        essence = "*/*" if began is None else began[1].lower()
        if began is None or essence == "*/*":
            continue
        charset = _charset(text, began.end())
        if charset is None and essence == found.essence:
            charset = found.charset
        found = ContentType(essence, charset)
    return ContentType() if found.essence in _UNKNOWN_TYPES else found


def is_xml(headers: RawHeaders) -> bool:
    """Whether a browser shows an XML document, whose scripts run, such as an SVG image."""
    essence = content_type_of(headers).essence or ""
    return essence in {"text/xml", "application/xml"} or essence.endswith("+xml")


def is_sniffed(headers: RawHeaders) -> bool:
    """Whether bytes without a type may be HTML (Fetch 3.6, determine nosniff)."""
    return [text.lower() for text in _split(headers, b"x-content-type-options")][:1] != ["nosniff"]


def is_attachment(headers: RawHeaders) -> bool:
    """Whether a browser saves the answer instead of showing it (RFC 6266, 4.2)."""
    kinds = [text.partition(";")[0].strip(_WHITESPACE) for text in _split(headers, b"content-disposition")]
    return kinds[:1] != [] and kinds[0].lower() == "attachment"


def _split(headers: RawHeaders, name: bytes) -> list[str]:
    """The values of a field (Fetch 2.2.2, get, decode, and split). A comma inside quotes does not split."""
    text, parts, at = b", ".join(values_of(headers, name)).decode("latin-1"), [], 0
    while at <= len(text):
        part = _PART.match(text, at)
        if part is None:
            break
        parts.append(part[0].strip("\t "))
        at = part.end() + 1
    return parts


def _charset(text: str, at: int) -> str | None:
    """The first charset among the parameters from `at` on (MIME Sniffing 4.4)."""
    while at < len(text):
        found = _PARAMETER.match(text, at)
        if found is None:
            return None
        quoted, plain = found[2], (found[3] or "").rstrip(_WHITESPACE)
        if found[1].lower() == "charset" and (quoted is not None or plain):
            return plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
    return None
