"""The log: one JSON object per line on standard error, for tracepool and its libraries, with secrets masked.

`ts` is UTC, `event` is a name to search for. A line is safe on a terminal: control and format characters are escaped.
`hide` registers a secret, which is then masked in every text, including those of exceptions.
"""

import base64
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
from structlog.typing import EventDict, WrappedLogger

from daemon.printable import safe_json

MASK = "**********"
SECRET_CHARACTERS_MIN = 4  # a shorter secret would mask ordinary words
TEXT_CHARACTERS_MAX = 4_000
BEGIN_CHARACTERS = 1_000  # the part of a cut text before the gap

_WITHOUT_TEXT = frozenset({NoneType, bool, int, float})

_secrets: list[str] = []  # the longest first: masking a part of a secret first would leave its rest readable


def hide(secret: str) -> None:
    """Write `secret` as MASK from now on, also where it is escaped for a URL, for JSON or as Python's repr."""
    plain = unquote(secret)
    forms = {secret, plain, quote(plain), quote(plain, safe=""), quote_plus(plain)}
    for form in (secret, plain):
        forms |= {json.dumps(form)[1:-1], repr(form)[1:-1], repr(form.encode("utf-8", "replace"))[2:-1]}
    known = {form for form in forms if len(form) >= SECRET_CHARACTERS_MIN} | set(_secrets)
    _secrets[:] = sorted(known, key=len, reverse=True)


def inside_base64(secret: str) -> list[str]:
    """The parts of `secret` in the Base64 form of any text around it, such as a login with a changing session.

    There are three forms, one for each offset of the secret in a group of three bytes. Characters that depend on the
    neighbouring bytes are left out.
    """
    content = secret.encode("utf-8", "replace")
    pieces = []
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + content).decode()
        pieces.append(encoded[-(before * 8 // -6) : (before + len(content)) * 8 // 6])
    return pieces


def masked(text: str) -> str:
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    return text


def _clean(value: Any) -> Any:
    """The value with all texts in it masked and cut, at any depth."""
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
    return _cut(masked(str(value)))  # the encoder would write str(value) too, but unmasked


def _cut(text: str) -> str:
    """Cut the middle out: the ends of a traceback tell where it was caught and what was raised."""
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return f"{text[:BEGIN_CHARACTERS]} … {text[BEGIN_CHARACTERS - TEXT_CHARACTERS_MAX :]}"


class Tap(Protocol):
    """A second receiver of log lines after masking, including lines below the level of the log."""

    def wants(self, level: int, event: str) -> bool: ...

    def take(self, level: int, line: EventDict) -> None: ...


class _Out:
    """The output of structlog, without a stdlib LogRecord, which costs three times as much as everything else.

    There is one instance, because existing loggers keep their output. `configure` changes its attributes.
    """

    def __init__(self) -> None:
        self.level = logging.NOTSET
        self.handler = logging.StreamHandler(sys.stderr)
        self.tap: Tap | None = None
        self.node: str | None = None

    def __call__(self, *_: object) -> "_Out":
        """Act as structlog's logger factory."""
        return self

    def from_level(self, method: str, event: EventDict) -> EventDict:
        level = NAME_TO_LEVEL[method]
        if level < self.level and (self.tap is None or not self.tap.wants(level, event["event"])):
            raise structlog.DropEvent
        return event

    def to_tap(self, method: str, event: EventDict) -> EventDict:
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
            pass  # a log that cannot be written must not end the daemon
        finally:
            handler.release()

    debug = info = warning = error = critical = exception = msg


_out = _Out()
_encoder = msgspec.json.Encoder(enc_hook=str)


def _line(_: WrappedLogger, __: str, event: EventDict) -> str:
    try:
        return safe_json(_encoder.encode(event).decode())
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(event, default=str)


def _prepared(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The event with level, time, traceback and masked texts. Raises DropEvent below the level of the log."""
    structlog.processors.add_log_level(logger, method, event)
    event["ts"] = datetime.now(UTC).isoformat().removesuffix("+00:00") + "Z"
    if _out.node is not None:
        event.setdefault("node", _out.node)
    if event.get("exc_info"):
        event = structlog.processors.format_exc_info(logger, method, event)
    for key, value in event.items():
        event[key] = _clean(value)
    return _out.to_tap(method, event)


def _own_line(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return _line(logger, method, _prepared(logger, method, _out.from_level(method, event)))


@contextmanager
def tapped(tap: Tap) -> Iterator[None]:
    """Send log lines to `tap` inside this context."""
    _out.tap = tap
    try:
        yield
    finally:
        _out.tap = None


def name_node(name: str) -> None:
    """Add the node's name to each line from now on: several processes write one log."""
    _out.node = name


def configure(level: str, stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging. A reload calls this again with another level."""
    structlog.configure(
        processors=[_own_line],
        logger_factory=_out,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_prepared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _line],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    _out.handler, _out.level = handler, root.level
    for chatty in ("httpx", "httpcore", "hypercorn", "asyncio", "quart", "trio-asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
