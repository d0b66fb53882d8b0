"""Reading what Supabase answers: the one table from status and code to a class of failure.

Source: https://docs.postgrest.org/en/stable/references/errors.html and the SQLSTATEs of
https://www.postgresql.org/docs/current/errcodes-appendix.html.

The database quotes the values of rows in `details`, `hint` and many of its messages. None of that
may be logged or stored: a message is kept only where its form is known to carry names alone.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from app.domain.failures import Failure, FailureKind

NOT_NULL_VIOLATION: Final = "23502"

# The longest match wins: a whole code, then the class that its first two characters name.
_KIND_BY_CODE: Final[Mapping[str, FailureKind]] = {
    "PGRST0": FailureKind.OUTAGE,  # PostgREST has lost its database
    "PGRST202": FailureKind.SCHEMA_MISMATCH,
    "PGRST204": FailureKind.SCHEMA_MISMATCH,
    "PGRST205": FailureKind.SCHEMA_MISMATCH,
    "PGRST106": FailureKind.SCHEMA_MISMATCH,  # the schema is not exposed
    "PGRST3": FailureKind.MISCONFIGURED,  # the JWT is not taken
    "21000": FailureKind.OURS,
    "23503": FailureKind.PARENT_MISSING,
    "23505": FailureKind.CONTESTED,
    "25006": FailureKind.OUTAGE,  # read-only, as a project with a full disk is
    "42501": FailureKind.MISCONFIGURED,  # the key's role lacks the privilege
    "42": FailureKind.SCHEMA_MISMATCH,
    "3F": FailureKind.SCHEMA_MISMATCH,
    "08": FailureKind.OUTAGE,
    "40": FailureKind.OUTAGE,
    "53": FailureKind.OUTAGE,
    "55": FailureKind.OUTAGE,
    "57": FailureKind.OUTAGE,
    "58": FailureKind.OUTAGE,
    "XX": FailureKind.OUTAGE,
    "28": FailureKind.MISCONFIGURED,
    "22": FailureKind.REFUSED,
    "23": FailureKind.REFUSED,
    "P0": FailureKind.REFUSED,
}

_NAME = r'(?:"[^"\x00-\x1f\x7f\ud800-\udfff]{1,130}"|[\w.]{1,130})'
# Messages that carry names of tables, columns, constraints and types, and no value of a row.
_SAFE_MESSAGES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"null value in column {_NAME} of relation {_NAME} violates not-null constraint",
        rf"insert or update on table {_NAME} violates foreign key constraint {_NAME}",
        rf"update or delete on table {_NAME} violates foreign key constraint {_NAME}"
        rf"(?: on table {_NAME})?",
        rf"duplicate key value violates unique constraint {_NAME}",
        rf"new row for relation {_NAME} violates check constraint {_NAME}",
        r"invalid input syntax for type [\w ]{1,130}",
        rf"invalid input value for enum {_NAME}",
        r"value too long for type [\w ]{1,130}(?:\(\d+\))?",
        rf"column {_NAME}(?: of relation {_NAME})? does not exist",
        rf"relation {_NAME} does not exist",
        rf"permission denied for (?:table|schema|relation|function) {_NAME}",
        rf"new row violates row-level security policy for table {_NAME}",
        r"there is no unique or exclusion constraint matching the ON CONFLICT specification",
        r"ON CONFLICT DO UPDATE command cannot affect row a second time",
        r"Could not find the '[\w.]{1,130}' column of '[\w.]{1,130}' in the schema cache",
        r"Could not find the table '[\w.]{1,130}' in the schema cache",
        r"Invalid schema: \w{1,63}",
        r"The schema must be one of the following: \w{1,63}(?:, \w{1,63}){0,20}",
        r"Invalid API key",
        r"JWT expired",
        r"JWSError [A-Za-z]{1,60}",
        r"No suitable key or wrong key type",
        r"canceling statement due to statement timeout",
        r"Database connection error. Retrying the connection.",
        r"Database client error. Retrying the connection.",
        r"Could not query the database for the schema cache. Retrying.",
        r"Timed out acquiring connection from connection pool.",
        r"cannot execute \w+ in a read-only transaction",
    )
)


def read_failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now_seconds: float,
    fields: Mapping[str, str] | None = None,
) -> Failure:
    """Read an answer that is not a success.

    Args:
        status: 300 to 599.
        headers: of the answer; names in lower case.
        body: as it came; anything is read.
        now_seconds: Unix time, for a `Retry-After` that is a date.
        fields: of the columns written, the field of ours that each is written from.
    """
    code, message, details = _read_body(body)
    kind = _classify(status, code)
    retry_after = _read_retry_after(headers.get("retry-after"), now_seconds)
    sentence = _keep_safe(code, message) or f"Supabase answered {status}"
    blamed = None
    if kind is FailureKind.PARENT_MISSING:
        # The name alone: what follows it is the value.
        blamed = re.match(r"Key \((\w{1,63})\)=", details)
    elif code == NOT_NULL_VIOLATION:
        blamed = re.match(r'null value in column "(\w{1,63})" of relation ', message)
    field = None if blamed is None else (fields or {}).get(blamed[1])
    return Failure(kind, code or f"HTTP {status}", sentence, retry_after, field)


def _classify(status: int, code: str | None) -> FailureKind:
    if code is not None:
        # These two come as a status that would say something else.
        if status in (408, 425, 429, 502, 503, 504):
            return FailureKind.OUTAGE
        for length in (len(code), 6, 2):
            kind = _KIND_BY_CODE.get(code[:length])
            if kind is not None:
                return kind
    match status:
        case 401 | 403:
            return FailureKind.MISCONFIGURED
        case 408 | 425 | 429:
            return FailureKind.OUTAGE
        case 413 | 414:
            # Too large for something on the way: smaller ones may pass.
            return FailureKind.OURS
        case _ if status >= 500:
            return FailureKind.OUTAGE
        case _ if code is not None and status >= 400:
            return FailureKind.REFUSED
        case _:
            # Not PostgREST's form: something else answers at SUPABASE_URL. No row is to blame.
            return FailureKind.MISCONFIGURED


def _read_body(body: bytes) -> tuple[str | None, str, str]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None, "", ""
    if not isinstance(document, dict):
        return None, "", ""
    code, message, details = (document.get(name) for name in ("code", "message", "details"))
    is_code = isinstance(code, str) and re.fullmatch(r"PGRST\d{3}|[0-9A-Z]{5}", code, re.ASCII)
    return (
        code if is_code else None,
        message if isinstance(message, str) else "",
        details if isinstance(details, str) else "",
    )


def _keep_safe(code: str | None, message: str) -> str | None:
    if code is not None and code.startswith(("P0", "PT")):
        return None  # written by a trigger: it may say anything
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
