"""Logs: one JSON object per line on standard error, ours and the libraries' alike, with secrets masked.

`ts` is UTC, `event` a word to search for, `level` as usual. A secret is masked wherever its text turns up, in an
exception's too: `hide` makes it known.
"""

import logging
import sys
from typing import Any, TextIO
from urllib.parse import urlsplit

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from daemon.config import Settings

MASK = "**********"
SECRET_CHARACTERS_MIN = 4  # anything shorter would mask ordinary words
TEXT_CHARACTERS_MAX = 4_000

_secrets: set[str] = set()


def hide(secret: str) -> None:
    """From now on `secret` is written as MASK."""
    if len(secret) >= SECRET_CHARACTERS_MIN:
        _secrets.add(secret)


def hide_secrets(settings: Settings) -> None:
    """Every password that the settings hold."""
    for provider in settings.providers.values():
        hide(provider.password.get_secret_value())
    if settings.database.url is not None:
        try:
            password = urlsplit(settings.database.url.get_secret_value()).password
        except ValueError:  # several hosts, or nonsense that asyncpg will complain of
            password = settings.database.url.get_secret_value()
        hide(password or "")


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
    if isinstance(value, str):
        return masked(value)[:TEXT_CHARACTERS_MAX]
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value


def configure(level: str, stream: TextIO | None = None) -> None:
    """Sets structlog and the standard library's logging up. Call it once, before anything logs."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _mask,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpcore", "hypercorn", "asyncio", "quart", "trio-asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
