"""From error to RFC 9457 problem: the whole table."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ExceptionHandler

from app.domain import errors
from app.domain.documents import write_pointer
from app.domain.errors import FieldError, InputInvalid, RelayError, TemporarilyUnavailable

MEDIA_TYPE: Final = "application/problem+json"

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
    errors.Overloaded: (HTTPStatus.TOO_MANY_REQUESTS, "overloaded"),
    errors.StoreUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable"),
    errors.KeySetUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "key-set-unavailable"),
}

_HTTP_CODES: Final = {404: "path-not-found", 405: "method-not-allowed"}


def make_problem(
    status: int,
    code: str,
    detail: str | None,
    *,
    field_errors: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Write a problem. Its `type` is `about:blank`: the stable name is `code`."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
    }
    if detail is not None:
        body["detail"] = detail
    if field_errors:
        body["errors"] = [
            {"pointer": error.pointer, "detail": error.detail} for error in field_errors
        ]
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def make_problem_of(error: RelayError) -> JSONResponse:
    """Write the problem that an error of ours is."""
    status, code = PROBLEMS[type(error)]
    headers: dict[str, str] = {}
    if isinstance(error, TemporarilyUnavailable):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    field_errors = error.errors if isinstance(error, InputInvalid) else ()
    return make_problem(status, code, str(error), field_errors=field_errors, headers=headers)


def internal_error() -> JSONResponse:
    """Write the problem of an error that nobody foresaw: it is logged, and never shown."""
    return make_problem(500, "internal-error", "The relay failed; this is no fault of the request.")


async def _answer_relay_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RelayError):
        raise TypeError("registered for another error")
    return make_problem_of(error)


async def _answer_http_exception(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise TypeError("registered for another error")
    code = _HTTP_CODES.get(error.status_code, "http-error")
    return make_problem(error.status_code, code, None, headers=error.headers)


async def _answer_request_validation_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise TypeError("registered for another error")
    # Parameters have no place in the body: they are named as FastAPI names them, after "query".
    field_errors = tuple(
        FieldError(write_pointer(*problem["loc"]), problem["msg"]) for problem in error.errors()
    )
    return make_problem_of(InputInvalid(field_errors))


async def _answer_fault(_: Request, __: Exception) -> JSONResponse:
    return internal_error()


async def _answer_nobody(_: Request, __: Exception) -> Response:
    # The client is gone; there is nothing to answer and nothing wrong.
    return Response(status_code=400)


HANDLERS: Final[Mapping[Any, ExceptionHandler]] = {
    RelayError: _answer_relay_error,
    HTTPException: _answer_http_exception,
    RequestValidationError: _answer_request_validation_error,
    ClientDisconnect: _answer_nobody,
    Exception: _answer_fault,
}


def register_handlers(app: FastAPI) -> None:
    """Have every error answered as a problem."""
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
