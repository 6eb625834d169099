"""What went wrong, as a client of the control face reads it: problem details (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import msgspec
from pydantic import ValidationError
from quart import Response

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
INPUT_SHOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that cannot be used. `field` is its path in the request, such as `ips.3.country`."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Problem details. `type` is about:blank where the status says it all (RFC 9457, 4.2.1)."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] | None = None


class ProblemRaised(Exception):
    """Ends a request with this status and detail, from wherever it is raised."""

    def __init__(self, status: int, detail: str, *, kind: str = "about:blank", title: str | None = None) -> None:
        super().__init__(detail)
        self.problem = problem(status, detail, kind=kind, title=title)


def problem(status: int, detail: str | None, *, kind: str = "about:blank", title: str | None = None) -> Problem:
    return Problem(kind, title or HTTPStatus(status).phrase, status, detail)


def not_ready(why: str | None = None) -> ProblemRaised:
    detail = why or "tracepool is starting: its database is not there yet"
    return ProblemRaised(503, detail, kind="/problems/not-ready", title="Not ready")


def invalid(error: Exception | None) -> Problem:
    """A request that does not fit its schema. What was given is not repeated: it may be a secret."""
    errors = [FieldError("", "must be a JSON object" if error is None else str(error)[:INPUT_SHOWN_MAX])]
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [FieldError(".".join(str(part) for part in one["loc"]), one["msg"]) for one in found]
    detail = "; ".join(f"{one.field}: {one.message}" if one.field else one.message for one in errors)
    return Problem("/problems/invalid", "The request does not fit its schema", 400, detail, errors)


def unseen(status: int, reason: str | None) -> tuple[str, bytes]:
    """Content type and body of the answer to a request that no handler sees."""
    return CONTENT_TYPE, _body(problem(status, reason))


def _body(problem: Problem) -> bytes:
    body: dict[str, Any] = {"type": problem.type, "title": problem.title, "status": problem.status}
    if problem.detail is not None:
        body["detail"] = problem.detail
    if problem.errors is not None:
        body["errors"] = [{"field": one.field, "message": one.message} for one in problem.errors]
    return msgspec.json.encode(body)


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    more = dict(headers or {})
    if problem.status == 503:
        more.setdefault("Retry-After", str(RETRY_AFTER_S))
    if problem.status == 401:
        more.setdefault("WWW-Authenticate", 'Bearer realm="tracepool"')
    return Response(_body(problem), problem.status, more, content_type=CONTENT_TYPE)
