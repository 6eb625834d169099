"""The fixture `expected_errors` fails a test in which an error is logged that the test does not expect."""

import logging
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

ERRORS = ("error", "exception", "critical")


class LoggedErrors:
    """Errors that were logged in a test, by tracepool (`event` and its values) and by libraries."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._expected: set[str] = set()

    def expect(self, *events: str) -> None:
        """Expect these errors."""
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
    """Fail the test on an error in the log, unless `expect` names it.

    Errors that a test captures with caplog or structlog's capture_logs are left to that test.
    """
    errors = LoggedErrors()

    def collect(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if method in ERRORS:
            errors.seen.append(dict(event))
        return event

    processors = structlog.get_config()["processors"]  # changed in place: existing loggers share the list
    before = processors.copy()
    # structlog's default renders tracebacks, which takes longer than most tests.
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
