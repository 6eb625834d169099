"""Errors in the log: the fixture `expected_errors` fails each test that logs one which it does not name."""

import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

ERRORS = ("error", "exception", "critical")


class LoggedErrors:
    """Errors that were logged in a test, ours (`event` and its values) and the libraries'."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._expected: set[str] = set()

    def expect(self, *events: str) -> None:
        """These are what the test is about."""
        self._expected.update(events)

    def named(self, event: str) -> list[dict[str, Any]]:
        return [error for error in self.seen if error["event"] == event]

    def unexpected(self) -> list[dict[str, Any]]:
        return [error for error in self.seen if error["event"] not in self._expected]


class _Collecting(logging.Handler):
    def __init__(self, errors: LoggedErrors) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.seen.append(
            {"event": record.getMessage(), "logger": record.name, "exc_info": repr(record.exc_info)}
        )


@pytest.fixture(autouse=True)
def expected_errors(request: pytest.FixtureRequest) -> Iterator[LoggedErrors]:
    """Fails the test on an error in the log, unless it is named by `expect`.

    A test that looks at the log itself, by caplog or structlog's capture_logs, is trusted with what it finds there.
    """
    errors = LoggedErrors()

    def collect(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method in ERRORS:
            errors.seen.append(dict(event))
        return event

    processors = structlog.get_config()["processors"]  # the list itself: loggers that exist already have it
    before = processors.copy()
    # structlog's default draws tracebacks, which takes longer than most tests.
    processors[:] = [collect, structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()]
    handler = _Collecting(errors)
    logging.getLogger().addHandler(handler)
    try:
        yield errors
    finally:
        logging.getLogger().removeHandler(handler)
        processors[:] = before
    if "caplog" not in request.fixturenames and (unexpected := errors.unexpected()):
        pytest.fail(f"unexpected errors in the log: {unexpected}", pytrace=False)
