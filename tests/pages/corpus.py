"""The pages of this folder's folders: a file each, with what is served and where Chromium lands.

A file begins with TOML. Then comes each answer: a line `+++ URL STATUS` (200 is left out), header lines, an empty line,
and the body. The first answer is the page. Several answers of one URL are given in turn, the last one for ever. Every
other document is answered by a short page, and every other file by 404.

    lands = "http://shop.example/l?cid=7"

    +++ http://track.example/c?id=1

    <script src="/go.js"></script>

    +++ /go.js

    location.replace("http://shop.example/l?cid=7")

The keys of the TOML:

- lands: the last document that Chromium's window requested. The fragment is left out if that is the page.
- sent: method, content type and body of that request, if it was no GET. A multipart boundary is written BOUNDARY.
- or_lands: URLs that are right as well. A comment says why: a slower network, another system.
- real_time: Chromium's virtual time has no animation frames, idle times and autofocus: judged on the real clock.
- charset: of the bodies, if it is not UTF-8.
- fill: texts of the bodies that stand for long ones: {"%FILL%" = ["text", repetitions]}.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlsplit

HERE = Path(__file__).parent
KEYS = {"lands", "sent", "or_lands", "real_time", "charset", "fill"}
KINDS = {
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
    "css": "text/css",
    "gif": "image/gif",
}
HTML = "text/html; charset=utf-8"
LANDED = b"<!doctype html><title>Shop</title><p>Welcome to the shop. This page stays as it is."
_ANSWER = re.compile(r"^\+\+\+ (\S+)(?: (\d{3}))?\n", re.M)
_HEADER = re.compile(r"[\w-]+:")
_BOUNDARY = re.compile(r"boundary=(\S+)")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Sent:
    """The request of a landing. `sent` is its method, content type and body, or empty for a GET."""

    lands: str
    sent: str = ""

    def __str__(self) -> str:
        return f"{self.lands} {self.sent!r}" if self.sent else self.lands


@dataclass(frozen=True)
class JumpPage:
    path: Path
    url: str
    told: Sent | None
    or_lands: tuple[str, ...]
    answers: dict[str, tuple[Answer, ...]]
    """By absolute URL without fragment."""
    real_time: bool = False

    @cached_property
    def name(self) -> str:
        return self.path.relative_to(HERE).with_suffix("").as_posix()

    @property
    def kind(self) -> str:
        return self.path.parent.name

    @property
    def stays(self) -> bool:
        return self.told is not None and self.told.lands == urldefrag(self.url).url

    def agrees(self, landing: Sent | None) -> bool:
        """Whether this landing is as the file says."""
        return landing is not None and (landing == self.told or landing.lands in self.or_lands)

    def answer(self, url: str, *, nth: int, document: bool) -> Answer:
        """The answer to request number `nth`, from 0, for this URL."""
        found = self.answers.get(urldefrag(url).url)
        if found:
            return found[min(nth, len(found) - 1)]
        if document:
            return Answer(200, (("Content-Type", HTML),), LANDED)
        return Answer(404, (("Content-Type", "text/plain"),), b"not found")

    def landing(self, url: str, method: str = "GET", kind: str | None = None, body: bytes = b"") -> Sent:
        """A landing as a file tells it."""
        if urldefrag(url).url == urldefrag(self.url).url:
            url = urldefrag(url).url
        if method == "GET":
            return Sent(url)
        text = f"{method} {kind or ''}\n{body.decode('latin-1')}"
        if (found := _BOUNDARY.search(kind or "")) is not None:
            text = text.replace(found[1], "BOUNDARY")
        return Sent(url, text.replace("\r\n", "\n"))


def corpus(only: str = "") -> list[JumpPage]:
    """All pages, or those whose name has this text; in the order of their names."""
    paths = sorted(HERE.glob("*/*.html"))
    return [page_of(path) for path in paths if only in path.relative_to(HERE).with_suffix("").as_posix()]


def page_of(path: Path) -> JumpPage:
    """Raises ValueError for a file that is not as this module says."""
    try:
        head, *parts = _ANSWER.split(path.read_text())
        told = tomllib.loads(head)
        if unknown := told.keys() - KEYS:
            raise ValueError(f"no such key: {', '.join(unknown)}")
        if not parts or not urlsplit(start := parts[0]).scheme:
            raise ValueError("the first answer needs an absolute URL")
        answers: dict[str, tuple[Answer, ...]] = {}
        for url, answer in _answers(parts, told):
            absolute = urldefrag(urljoin(start, url)).url
            answers[absolute] = (*answers.get(absolute, ()), answer)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    expected = Sent(told["lands"], told.get("sent", "")) if "lands" in told else None
    return JumpPage(path, start, expected, tuple(told.get("or_lands", ())), answers, bool(told.get("real_time")))


def _answers(parts: list[str], told: dict[str, object]) -> Iterator[tuple[str, Answer]]:
    charset, fills = str(told.get("charset", "utf-8")), told.get("fill", {})
    for url, status, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        head, found, body = f"\n{text}".partition("\n\n")
        if not found and not all(map(_HEADER.match, text.splitlines())):
            raise ValueError(f"an empty line is missing behind the headers of {url}")
        headers = [tuple(map(str.strip, line.split(":", 1))) for line in head.split("\n") if line]
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.insert(0, ("Content-Type", _type_of(url, charset)))
        for mark, (filler, times) in fills.items():  # type: ignore[attr-defined]
            body = body.replace(mark, filler * times)
        data = body.rstrip("\n").encode(charset)
        yield url, Answer(int(status or 200), tuple((name, value) for name, value in headers if value), data)


def _type_of(url: str, charset: str) -> str:
    ending = urlsplit(url).path.rpartition(".")[2]
    return KINDS.get(ending, HTML if charset == "utf-8" else "text/html")


def write(page: JumpPage, judged: Sent) -> JumpPage:
    """Replaces the expectation in the page's file."""
    text = page.path.read_text()
    head, mark, rest = text.partition("+++ ")
    head = re.sub(r'^sent = ".*"\n', "", re.sub(r'^lands = ".*"\n', "", head, flags=re.M), flags=re.M)
    lines = f"lands = {_toml(judged.lands)}\n" + (f"sent = {_toml(judged.sent)}\n" if judged.sent else "")
    page.path.write_text(f"{lines}{head.lstrip() or chr(10)}{mark}{rest}")
    return replace(page, told=judged)


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
