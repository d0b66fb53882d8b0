"""Responses to errors: RFC 9457 problems, by one table."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.domain import errors
from app.domain.documents import write_pointer
from app.domain.errors import (
    FieldError,
    InputInvalid,
    RelayError,
    TemporarilyUnavailable,
    Unauthenticated,
)
from app.relay.measurements import Measurements

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
GUIDE_PATH: Final = "/docs/problems"
"""Where the relay itself documents every code."""

# Type, status, code. The codes are public and stable.
PROBLEMS: Final[Mapping[type[RelayError], tuple[HTTPStatus, str]]] = {
    errors.RequestMalformed: (HTTPStatus.BAD_REQUEST, "request-malformed"),
    errors.HeadTooLarge: (HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large"),
    errors.HeadTooSlow: (HTTPStatus.REQUEST_TIMEOUT, "head-too-slow"),
    errors.BodyTooLarge: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large"),
    errors.BodyTooSlow: (HTTPStatus.REQUEST_TIMEOUT, "body-too-slow"),
    errors.MediaTypeUnsupported: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "media-type-unsupported"),
    errors.ContentEncodingUnsupported: (
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "content-encoding-unsupported",
    ),
    errors.Unauthenticated: (HTTPStatus.UNAUTHORIZED, "unauthenticated"),
    errors.ScopeMissing: (HTTPStatus.FORBIDDEN, "scope-missing"),
    errors.OperatorAccessNotConfigured: (
        HTTPStatus.FORBIDDEN,
        "operator-access-not-configured",
    ),
    errors.InputInvalid: (HTTPStatus.UNPROCESSABLE_ENTITY, "input-invalid"),
    errors.EventIdConflict: (HTTPStatus.CONFLICT, "event-id-conflict"),
    errors.EventNotFound: (HTTPStatus.NOT_FOUND, "event-not-found"),
    errors.ReplayNotFound: (HTTPStatus.NOT_FOUND, "replay-not-found"),
    errors.ReconciliationNotFound: (HTTPStatus.NOT_FOUND, "reconciliation-not-found"),
    errors.Overloaded: (HTTPStatus.TOO_MANY_REQUESTS, "overloaded"),
    errors.StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"),
    errors.KeySetUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "key-set-unavailable"),
}

REQUEST_ERRORS: Final = (
    errors.RequestMalformed,
    errors.HeadTooSlow,
    errors.BodyTooSlow,
    errors.BodyTooLarge,
    errors.HeadTooLarge,
    errors.MediaTypeUnsupported,
    errors.ContentEncodingUnsupported,
    errors.InputInvalid,
)
"""Errors of every operation with a body."""

OPERATOR_ERRORS: Final = (
    errors.Unauthenticated,
    errors.OperatorAccessNotConfigured,
    errors.ScopeMissing,
    errors.StoreUnavailable,
    errors.KeySetUnavailable,
)
"""Errors of every operation for operators."""

# By pydantic's type of error.
_RULES: Final = {
    "bool_type": "must be true or false",
    "enum": "must be {expected}",
    "extra_forbidden": "is unknown",
    "greater_than_equal": "must be at least {ge}",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is too large",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be an array",
    "missing": "is required",
    "model_type": "must be an object",
    "string_type": "must be a string",
    "string_unicode": "must not contain lone surrogates",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "value_error": "{error}",
}

_INTERNAL_ERROR: Final = "internal-error"
_HTTP_CODES: Final = {404: "path-not-found", 405: "method-not-allowed"}


def locate_guide(code: str) -> str:
    """Return a problem's `type`: the reference to its documentation.

    It is relative: the relay does not know its URL behind proxies. A client resolves it against the
    URL that it called (RFC 9457, 3.1.1), and so reads about the version that responded.
    """
    return f"{GUIDE_PATH}#{code}"


def make_problem(error: RelayError) -> JSONResponse:
    """Make the response to an error of the table."""
    status, code = PROBLEMS[type(error)]
    headers: dict[str, str] = {}
    if isinstance(error, TemporarilyUnavailable):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    fields = error.errors if isinstance(error, InputInvalid) else ()
    return _make_problem(status, code, str(error), fields=fields, headers=headers)


def internal_error() -> JSONResponse:
    """Make the response to an unexpected error, which only the log describes."""
    return _make_problem(500, _INTERNAL_ERROR, "Internal error. The request is not at fault.")


def error_response(measurements: Measurements, subject: str, error: BaseException) -> Response:
    """Count an error, or log it if it is unexpected, and make the response to it."""
    if not isinstance(error, RelayError):
        logger.error("%s failed", subject, exc_info=error)
        return internal_error()
    _, code = PROBLEMS[type(error)]
    measurements.rejections.labels(code).inc()
    return make_problem(error)


def find_status(error: BaseException) -> tuple[int, str]:
    """Return the status and the code of the response to an error."""
    if isinstance(error, RelayError):
        status, code = PROBLEMS[type(error)]
        return int(status), code
    return int(HTTPStatus.INTERNAL_SERVER_ERROR), _INTERNAL_ERROR


def find_reason(error: RelayError) -> str:
    """Return the exact reason, for the log only."""
    if isinstance(error, Unauthenticated):
        return error.reason
    if isinstance(error, InputInvalid):
        return "; ".join(f"{field.pointer} {field.detail}" for field in error.errors[:5])
    return str(error)


def describe_fields(problems: Iterable[Any]) -> list[FieldError]:
    """Convert pydantic's errors."""
    return [
        FieldError(
            write_pointer(*problem["loc"]),
            _RULES.get(problem["type"], "is invalid").format(**problem.get("ctx", {})),
        )
        for problem in problems
    ]


def register_handlers(app: FastAPI) -> None:
    """Respond to every exception with a problem."""
    for kind in (RelayError, HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _handle_exception)


async def _handle_exception(_: Request, error: Exception) -> Response:
    match error:
        case RelayError():
            return make_problem(error)
        case RequestValidationError():
            return make_problem(InputInvalid(describe_fields(error.errors())))
        case HTTPException():
            code = _HTTP_CODES.get(error.status_code, "http-error")
            return _make_problem(error.status_code, code, None, headers=error.headers)
        case ClientDisconnect():
            return Response(status_code=400)  # The client does not receive it.
        case _:
            return internal_error()


def _make_problem(
    status: int,
    code: str,
    detail: str | None,
    *,
    fields: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": locate_guide(code),
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
    }
    if detail is not None:
        body["detail"] = detail
    if fields:
        body["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in fields]
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def describe_problems(*kinds: type[RelayError]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses to errors, by status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        status, code = PROBLEMS[kind]
        description = f"`{code}`: {(kind.__doc__ or '').splitlines()[0]}"
        if status in responses:
            responses[status]["description"] += f" {description}"
            continue
        responses[int(status)] = {
            "description": description,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if issubclass(kind, TemporarilyUnavailable):
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
    return responses
