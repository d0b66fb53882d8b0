"""Classifies failed requests and rows by code and HTTP status.

Sources: https://docs.postgrest.org/en/stable/references/errors.html and
https://www.postgresql.org/docs/current/errcodes-appendix.html.

PostgreSQL quotes row values in `details`, `hint` and many messages; none of that may be logged or
stored. `relay_apply` omits them for rows; of a failed request, a message is kept only if its form
is known to hold nothing but names.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar

from app.domain.failures import (
    RequestFailure,
    RequestFailureKind,
    RowFailure,
    RowFailureKind,
)
from app.supabase.planning import Operation, Verb

STALE: Final = "PT409"
LOCK_NOT_AVAILABLE: Final = "55P03"

# By code or prefix of a code; the longest match wins.
_REQUEST_KINDS: Final[Mapping[str, RequestFailureKind]] = {
    STALE: RequestFailureKind.STALE,
    LOCK_NOT_AVAILABLE: RequestFailureKind.BUSY,
    "PGRST0": RequestFailureKind.UNAVAILABLE,  # PostgREST cannot reach its database
    "PGRST1": RequestFailureKind.MISCONFIGURED,
    "PGRST2": RequestFailureKind.MISCONFIGURED,
    "PGRST3": RequestFailureKind.MISCONFIGURED,  # the JWT
    "0A000": RequestFailureKind.MISCONFIGURED,  # the functions have another protocol
    "22023": RequestFailureKind.MISCONFIGURED,  # the role of the key does not exist
    "28": RequestFailureKind.MISCONFIGURED,
    "42": RequestFailureKind.MISCONFIGURED,  # the fence is missing, or the key lacks a privilege
    "3F000": RequestFailureKind.MISCONFIGURED,
}
_ROW_KINDS: Final[Mapping[str, RowFailureKind]] = {
    "23503": RowFailureKind.MISSING_REFERENCE,
    "23505": RowFailureKind.UNIQUE_CONFLICT,
    LOCK_NOT_AVAILABLE: RowFailureKind.BUSY,
    "40": RowFailureKind.BUSY,
    # Connections, resources, an operator, the disk: not the row.
    "08": RowFailureKind.BUSY,
    "53": RowFailureKind.BUSY,
    "57": RowFailureKind.BUSY,
    "58": RowFailureKind.BUSY,
    "42P01": RowFailureKind.STRUCTURAL,
    "42703": RowFailureKind.STRUCTURAL,
    "42P10": RowFailureKind.STRUCTURAL,
    "42501": RowFailureKind.STRUCTURAL,
    "3F000": RowFailureKind.STRUCTURAL,
    # A deferrable key, or a table that cannot be written like this.
    "55000": RowFailureKind.STRUCTURAL,
    "0A000": RowFailureKind.STRUCTURAL,
}

# PostgreSQL 18 has a separate code for ON DELETE RESTRICT.
REFERENCED_CODES: Final = ("23503", "23001")

_NAME = r'(?:"[^"\x00-\x1f\x7f\ud800-\udfff]{1,130}"|[\w.]{1,130})'
# Messages that hold names of tables, columns, constraints and types, but no row values.
_SAFE_MESSAGES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"column {_NAME}(?: of relation {_NAME})? does not exist",
        rf"relation {_NAME} does not exist",
        rf"role {_NAME} does not exist",
        rf"permission denied for (?:table|schema|relation|function) {_NAME}",
        rf"null value in column {_NAME} of relation {_NAME} violates not-null constraint",
        rf"insert or update on table {_NAME} violates foreign key constraint {_NAME}",
        rf"duplicate key value violates unique constraint {_NAME}",
        rf"new row for relation {_NAME} violates check constraint {_NAME}",
        rf"new row violates row-level security policy for table {_NAME}",
        r"invalid input syntax for type [\w ]{1,130}",
        r"there is no unique or exclusion constraint matching the ON CONFLICT specification",
        r"Could not find the function [\w.]{1,130}\([\w, ]{0,130}\) in the schema cache",
        r"Could not find the '[\w.]{1,130}' column of '[\w.]{1,130}' in the schema cache",
        r"Could not find the table '[\w.]{1,130}' in the schema cache",
        r"Invalid schema: \w{1,63}",
        r"The schema must be one of the following: \w{1,63}(?:, \w{1,63}){0,20}",
        r"Invalid API key",
        r"Legacy API keys are disabled",
        r"JWT expired",
        r"JWT not yet valid",
        r"JWSError [A-Za-z]{1,60}",
        r"No suitable key or wrong key type",
        r"unsupported protocol",
        r"query returned no rows",
        r"canceling statement due to (?:statement|lock) timeout",
        r"Database connection error\.(?: Retrying the connection\.)?",
        r"Database client error\.(?: Retrying the connection\.)?",
        r"Could not query the database for the schema cache\.(?: Retrying\.)?",
        r"Timed out acquiring connection from connection pool\.",
        r"cannot execute \w+ in a read-only transaction",
    )
)


def read_request_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, now_seconds: float
) -> RequestFailure:
    """Classify an unsuccessful HTTP response."""
    document = read_document(body)
    code, message = _read_error(document)
    is_json, is_empty = document is not None, not body.strip()
    return RequestFailure(
        _classify_request(status, code, is_json=is_json, is_empty=is_empty),
        code or f"HTTP {status}",
        # For a revoked key, the gateway sends only a 401.
        _keep_safe(code, message) or _describe_status(status, is_page=not (is_json or is_empty)),
        _read_retry_after(headers.get("retry-after"), now_seconds),
    )


def _describe_status(status: int, *, is_page: bool) -> str:
    if is_page and status < 500:
        return f"the server that responded {status} is not Supabase's API"
    return f"Supabase responded {status}"


def _classify_request(
    status: int, code: str | None, *, is_json: bool, is_empty: bool
) -> RequestFailureKind:
    if code in (STALE, LOCK_NOT_AVAILABLE):
        return _REQUEST_KINDS[code]
    match status:
        case 401 | 402 | 403 if is_json or (is_empty and status != 403):
            return RequestFailureKind.MISCONFIGURED
        case 404 if is_json and code is None:
            return RequestFailureKind.MISCONFIGURED  # a gateway without PostgREST
        case 408 | 425 | 429:
            return RequestFailureKind.UNAVAILABLE
        case _ if status >= 500:
            return RequestFailureKind.UNAVAILABLE
        case _ if status < 400:
            return RequestFailureKind.MISCONFIGURED  # a redirect: not PostgREST
        case _:
            return _look_up(_REQUEST_KINDS, code) or RequestFailureKind.UNAVAILABLE


def read_row_failure(document: Mapping[str, Any], operation: Operation) -> RowFailure:
    """Classify a failed row of a response of `relay_apply`.

    Raises:
        KeyError, TypeError, ValueError: not a response of `relay_apply`.
    """
    code = document["sqlstate"]
    if not re.fullmatch(r"[0-9A-Z]{5}", code, re.ASCII):
        raise ValueError("not an SQLSTATE")
    kind = _classify_row(code, operation.verb)
    field = None
    if kind is RowFailureKind.MISSING_REFERENCE:
        field = operation.target.fields.get(document.get("column", ""))
    return RowFailure(kind, code, _describe_row_failure(document, kind, operation), field)


def _classify_row(code: str, verb: Verb) -> RowFailureKind:
    if verb is Verb.DELETE and code in REFERENCED_CODES:
        return RowFailureKind.STILL_REFERENCED
    if verb is Verb.UPDATE and code == "P0002":
        return RowFailureKind.INCOMPLETE
    return _look_up(_ROW_KINDS, code) or RowFailureKind.REJECTED


def _describe_row_failure(
    document: Mapping[str, Any], kind: RowFailureKind, operation: Operation
) -> str:
    table = operation.target.table
    if kind is RowFailureKind.INCOMPLETE:
        columns = ", ".join(operation.missing_columns)
        return f"{table} has no such row to update, and the event lacks {columns} for a new one"
    message = document.get("message")
    if not isinstance(message, str):
        given = [name for name in ("column", "constraint") if name in document]
        names = [f"{name} {document[name]}" for name in given]
        message = " ".join((f"PostgreSQL rejected the row of {table}", *names))
    # The store could not hold such a message, which would stop the dispatcher.
    if "\0" in message:
        raise ValueError("NUL in a message")
    message.encode()
    return message


T = TypeVar("T")


def _look_up(kinds: Mapping[str, T], code: str | None) -> T | None:
    """Find the class of a code or of its longest known prefix."""
    for length in (8, 6, 5, 2) if code else ():
        kind = kinds.get((code or "")[:length])
        if kind is not None:
            return kind
    return None


def describe_no_response(error: Exception, sentence: str) -> RequestFailure:
    """Return the failure of a request without a response."""
    return RequestFailure(RequestFailureKind.UNAVAILABLE, type(error).__name__, sentence)


def read_document(body: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None if the body is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _read_error(document: Mapping[str, Any] | None) -> tuple[str | None, str]:
    code, message = ((document or {}).get(name) for name in ("code", "message"))
    is_code = isinstance(code, str) and re.fullmatch(r"PGRST\d{3}|[0-9A-Z]{5}", code, re.ASCII)
    return code if is_code else None, message if isinstance(message, str) else ""


def _keep_safe(code: str | None, message: str) -> str | None:
    if code is not None and code.startswith(("P0", "PT")):
        return None  # from a trigger: it may hold anything
    for pattern in _SAFE_MESSAGES:
        match = pattern.match(message)
        if match is not None:
            return match.group()
    return None


def _read_retry_after(value: str | None, now_seconds: float) -> float | None:
    if value is None:
        return None
    if re.fullmatch(r"\d{1,6}", value, re.ASCII):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - now_seconds)
