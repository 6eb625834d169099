"""Logs: one JSON object per line on standard error, ours and the libraries' alike, with secrets masked.

`ts` is UTC, `event` a word to search for, `level` as usual. A secret is masked wherever its text turns up, in an
exception's too: `hide` makes it known.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import NoneType
from typing import Any, Protocol, TextIO
from urllib.parse import quote, quote_plus, unquote

import msgspec
import structlog
from structlog.processors import NAME_TO_LEVEL
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "**********"
SECRET_CHARACTERS_MIN = 4  # anything shorter would mask ordinary words
TEXT_CHARACTERS_MAX = 4_000
BEGIN_CHARACTERS = 1_000  # of these, where more are cut

_WITHOUT_TEXT = frozenset({NoneType, bool, int, float})

_secrets: list[str] = []  # the longest first: a shorter one inside it would leave the rest of it readable


def hide(secret: str) -> None:
    """From now on `secret` is written as MASK, also where it is escaped for a URL, for JSON or as Python's repr."""
    plain = unquote(secret)
    forms = {secret, plain, quote(plain), quote(plain, safe=""), quote_plus(plain)}
    for form in (secret, plain):
        forms |= {json.dumps(form)[1:-1], repr(form)[1:-1], repr(form.encode("utf-8", "replace"))[2:-1]}
    known = {form for form in forms if len(form) >= SECRET_CHARACTERS_MIN} | set(_secrets)
    _secrets[:] = sorted(known, key=len, reverse=True)


def masked(text: str) -> str:
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        event[key] = _clean(value)
    return event


def _clean(value: Any) -> Any:
    """The same value with its texts masked and cut, however deep they lie."""
    if type(value) in _WITHOUT_TEXT:
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return _cut(masked(value))
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, int | float):
        return value
    return _cut(masked(str(value)))  # what JSON does not know would be written so, but unmasked


def _cut(text: str) -> str:
    """In the middle: a traceback begins with where it was heard of and ends with its cause."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return f"{text[:BEGIN_CHARACTERS]} … {text[BEGIN_CHARACTERS - TEXT_CHARACTERS_MAX :]}"


class Tap(Protocol):
    """Who is told of lines too, behind their masking, also of those below the level that is written."""

    def wants(self, level: int, event: str) -> bool: ...

    def take(self, level: int, line: EventDict) -> None: ...


class _Out:
    """Where structlog's lines go, without the way through a stdlib record, which costs thrice as much as the rest.

    There is one, as loggers that exist already keep what they began with; `configure` sets what it holds.
    """

    def __init__(self) -> None:
        self.level = logging.NOTSET
        self.handler = logging.StreamHandler(sys.stderr)
        self.tap: Tap | None = None

    def __call__(self, *_: object) -> "_Out":
        """As structlog's factory of loggers."""
        return self

    def from_level(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        level = NAME_TO_LEVEL[method]
        if level < self.level and (self.tap is None or not self.tap.wants(level, event["event"])):
            raise structlog.DropEvent
        return event

    def to_tap(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        level = NAME_TO_LEVEL[method]
        if self.tap is not None:
            self.tap.take(level, event)
        if level < self.level:
            raise structlog.DropEvent
        return event

    def msg(self, line: str) -> None:
        handler = self.handler
        handler.acquire()
        try:
            handler.stream.write(line + handler.terminator)
            handler.flush()
        except (OSError, ValueError):
            pass  # a log that cannot be written must not end what it tells of
        finally:
            handler.release()

    debug = info = warning = error = critical = exception = msg


_out = _Out()
_encoder = msgspec.json.Encoder(enc_hook=str)


def _line(_: WrappedLogger, __: str, event: EventDict) -> str:
    try:
        return _encoder.encode(event).decode()
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(event, default=str)


def _whole(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """All that happens to a line of ours, as the foreign ones' chain of processors does it, in one call."""
    event = _out.from_level(logger, method, event)
    structlog.processors.add_log_level(logger, method, event)
    event["ts"] = datetime.now(UTC).isoformat().removesuffix("+00:00") + "Z"
    if event.get("exc_info"):
        event = structlog.processors.format_exc_info(logger, method, event)
    return _line(logger, method, _out.to_tap(logger, method, _mask(logger, method, event)))


@contextmanager
def tapped(tap: Tap) -> Iterator[None]:
    """`tap` is told of what it wants for as long as this lasts."""
    _out.tap = tap
    try:
        yield
    finally:
        _out.tap = None


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sets structlog and the standard library's logging up. Call it once, before anything logs."""
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _mask,
    ]
    structlog.configure(
        processors=[_whole],
        logger_factory=_out,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _out.to_tap],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _line],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _out.handler, _out.level = handler, root.level
    for chatty in ("httpx", "httpcore", "hypercorn", "asyncio", "quart", "trio-asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
