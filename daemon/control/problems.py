"""The error answers of the control face: problem details (RFC 9457)."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from pydantic import ValidationError
from quart import Response

from daemon.printable import safe_json

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
INPUT_SHOWN_MAX = 100


class FieldError(msgspec.Struct, frozen=True):
    """A field with a bad value. `field`: its path in the request, such as `rows.3.country`."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """Problem details (RFC 9457). `type` about:blank: the status has the whole meaning (4.2.1)."""

    type: Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]
    title: str
    status: int
    detail: str | UnsetType = UNSET
    errors: list[FieldError] | UnsetType = UNSET


class ProblemRaised(Exception):
    """Ends the request with this status and detail."""

    def __init__(
        self, status: int, detail: str, *, field: str = "", kind: str = "about:blank", title: str | None = None
    ) -> None:
        """`field`: the field of the request whose value is the cause."""
        super().__init__(detail)
        self.problem = problem(status, detail, [(field, detail)] if field else (), kind=kind, title=title)


def problem(
    status: int,
    detail: str | None,
    errors: Iterable[tuple[str, str]] = (),
    *,
    kind: str = "about:blank",
    title: str | None = None,
) -> Problem:
    """`errors`: each wrong field with its sentence."""
    fields = [FieldError(field, sentence) for field, sentence in errors]
    title = title or HTTPStatus(status).phrase
    return Problem(kind, title, status, UNSET if detail is None else detail, fields or UNSET)


def not_ready(why: str | None = None) -> ProblemRaised:
    detail = why or "tracepool is starting: the database is not ready yet"
    return ProblemRaised(503, detail, kind="/problems/not-ready", title="Not ready")


def invalid(error: Exception | None) -> Problem:
    """The problem of a request that does not fit its schema. Its values are not repeated: they may be secrets."""
    errors = [FieldError("", "must be a JSON object" if error is None else str(error)[:INPUT_SHOWN_MAX])]
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [FieldError(".".join(str(part) for part in one["loc"]), one["msg"]) for one in found]
    detail = "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in errors)
    return Problem("/problems/invalid", "The request does not fit its schema", 400, detail, errors)


def raw_problem(status: int, reason: str | None) -> tuple[str, bytes]:
    """Content type and body of the answer to a request that does not reach the app."""
    return CONTENT_TYPE, _encoded(problem(status, reason))


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    more = dict(headers or {})
    if problem.status == 503:
        more.setdefault("Retry-After", str(RETRY_AFTER_S))
    if problem.status == 401:
        more.setdefault("WWW-Authenticate", 'Bearer realm="tracepool"')
    return Response(_encoded(problem), problem.status, more, content_type=CONTENT_TYPE)


def _encoded(problem: Problem) -> bytes:
    return safe_json(msgspec.json.encode(problem).decode()).encode()
