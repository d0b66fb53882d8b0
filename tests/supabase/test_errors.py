"""Holds the reading of Supabase's refusals to the bodies that PostgREST and its proxies send."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.failures import Failure, FailureKind
from app.supabase.errors import read_failure

NOW_SECONDS = 1_767_225_600.0  # 2026-01-01T00:00:00Z
# What a target writes: fields to columns of their names, and to one of another.
FIELDS = {"trip_id": "trip_id", "user_id": "user_id", "start_date": "startDate"}
SECRET = "ada.secret@example.com"
PAGE = b"<html>\r\n<head><title>Sorry</title></head>\r\n<body>ada.secret@example.com</body></html>"

OUTAGE = FailureKind.OUTAGE
MISCONFIGURED = FailureKind.MISCONFIGURED
SCHEMA_MISMATCH = FailureKind.SCHEMA_MISMATCH
PARENT_MISSING = FailureKind.PARENT_MISSING
CONTESTED = FailureKind.CONTESTED
OURS = FailureKind.OURS
REFUSED = FailureKind.REFUSED
# Where a column is to blame, and not merely mentioned.
BLAMING = (PARENT_MISSING, REFUSED)


def read(
    status: int, body: bytes | Mapping[str, object] = b"", headers: Mapping[str, str] | None = None
) -> Failure:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_failure(status, headers or {}, encoded, now_seconds=NOW_SECONDS, fields=FIELDS)


# PostgREST's own form


@dataclass(frozen=True)
class Refusal:
    """One body that PostgREST sends, and how it is to be read; `kept` is None for nothing."""

    status: int
    code: str
    kind: FailureKind
    message: str
    kept: str | None
    details: str | None = None
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.code} {self.message[:24]}"


def whole(status: int, code: str, kind: FailureKind, message: str, **more: str | None) -> Refusal:
    """Make a refusal whose message is kept as it is."""
    return Refusal(status, code, kind, message, message, **more)


FOREIGN_KEY = (
    'insert or update on table "trip_memberships" violates foreign key constraint'
    ' "trip_memberships_trip_id_fkey"'
)
NOT_NULL = 'null value in column "start_date" of relation "trips" violates not-null constraint'
FAILING_ROW = f"Failing row contains (456e7890-e89b-12d3-a456-426614174001, {SECRET}, null)."
RECONNECTING = "Database connection error. Retrying the connection."
TWICE = "ON CONFLICT DO UPDATE command cannot affect row a second time"
TWICE_HINT = (
    "Ensure that no rows proposed for insertion within the same command have duplicate"
    " constrained values."
)

REFUSALS = [
    # This entity's own
    whole(
        409,
        "23503",
        PARENT_MISSING,
        FOREIGN_KEY,
        details=f'Key (trip_id)=({SECRET}) is not present in table "trips".',
    ),
    whole(
        409,
        "23503",
        PARENT_MISSING,
        'update or delete on table "users" violates foreign key constraint "chat_user_id_fkey"'
        ' on table "chat"',
        details=f'Key (id)=({SECRET}) is still referenced from table "chat".',
    ),
    whole(
        409,
        "23505",
        CONTESTED,
        'duplicate key value violates unique constraint "users_email_key"',
        details=f"Key (email)=({SECRET}) already exists.",
    ),
    whole(400, "23502", REFUSED, NOT_NULL, details=FAILING_ROW),
    whole(
        400,
        "23514",
        REFUSED,
        'new row for relation "users" violates check constraint "users_email_check"',
        details=FAILING_ROW,
    ),
    whole(400, "22001", REFUSED, "value too long for type character varying(10)"),
    Refusal(
        400,
        "22P02",
        REFUSED,
        f'invalid input syntax for type uuid: "{SECRET}"',
        "invalid input syntax for type uuid",
    ),
    Refusal(
        400,
        "22P02",
        REFUSED,
        f'invalid input value for enum membership_role: "{SECRET}"',
        "invalid input value for enum membership_role",
    ),
    Refusal(
        400,
        "22P02",
        REFUSED,
        f'invalid input value for enum "MembershipRole": "{SECRET}"',
        'invalid input value for enum "MembershipRole"',
    ),
    Refusal(400, "22008", REFUSED, f'date/time field value out of range: "{SECRET}"', None),
    Refusal(400, "22P05", REFUSED, "unsupported Unicode escape sequence", None, details=SECRET),
    Refusal(400, "P0001", REFUSED, f"{SECRET} may not join this trip", None, hint=SECRET),
    Refusal(400, "PGRST102", REFUSED, "Empty or invalid json", None),
    Refusal(402, "PT402", REFUSED, f"{SECRET} has not paid", None),
    # A fault of ours
    whole(500, "21000", OURS, TWICE, hint=TWICE_HINT),
    whole(400, "21000", OURS, TWICE, hint=TWICE_HINT),
    # What is not as configured
    whole(
        404,
        "PGRST205",
        SCHEMA_MISMATCH,
        "Could not find the table 'public.trip_memberships' in the schema cache",
        hint="Perhaps you meant the table 'public.memberships'",
    ),
    whole(
        400,
        "PGRST204",
        SCHEMA_MISMATCH,
        "Could not find the 'created_by' column of 'trips' in the schema cache",
    ),
    Refusal(
        404,
        "PGRST202",
        SCHEMA_MISMATCH,
        "Could not find the function public.is_trip_member(trip) in the schema cache",
        None,
    ),
    whole(406, "PGRST106", SCHEMA_MISMATCH, "The schema must be one of the following: api, public"),
    whole(406, "PGRST106", SCHEMA_MISMATCH, "Invalid schema: hidden"),
    whole(
        400,
        "42P10",
        SCHEMA_MISMATCH,
        "there is no unique or exclusion constraint matching the ON CONFLICT specification",
    ),
    whole(400, "42703", SCHEMA_MISMATCH, "column users.username does not exist"),
    whole(400, "42703", SCHEMA_MISMATCH, 'column "username" of relation "users" does not exist'),
    whole(404, "42P01", SCHEMA_MISMATCH, 'relation "public.users" does not exist'),
    # The key
    whole(401, "PGRST301", MISCONFIGURED, "JWSError JWSInvalidSignature"),
    Refusal(500, "PGRST300", MISCONFIGURED, "Server lacks JWT secret", None),
    whole(
        401,
        "PGRST301",
        MISCONFIGURED,
        "No suitable key or wrong key type",
        details="None of the keys was able to decode the JWT",
    ),
    whole(401, "PGRST301", MISCONFIGURED, "JWT expired"),
    whole(401, "PGRST303", MISCONFIGURED, "JWT expired"),
    Refusal(401, "PGRST302", MISCONFIGURED, "Anonymous access is disabled", None),
    whole(401, "42501", MISCONFIGURED, "permission denied for table users"),
    whole(403, "42501", MISCONFIGURED, "permission denied for schema public"),
    whole(
        403,
        "42501",
        MISCONFIGURED,
        'new row violates row-level security policy for table "trip_memberships"',
    ),
    Refusal(403, "28000", MISCONFIGURED, f'role "{SECRET}" is not permitted to log in', None),
    # Supabase does not work
    whole(503, "PGRST000", OUTAGE, RECONNECTING),
    whole(503, "PGRST001", OUTAGE, "Database client error. Retrying the connection."),
    whole(503, "PGRST001", OUTAGE, RECONNECTING),
    whole(
        503,
        "PGRST002",
        OUTAGE,
        "Could not query the database for the schema cache. Retrying.",
    ),
    whole(504, "PGRST003", OUTAGE, "Timed out acquiring connection from connection pool."),
    whole(503, "PGRST003", OUTAGE, "Timed out acquiring connection from connection pool."),
    whole(500, "57014", OUTAGE, "canceling statement due to statement timeout"),
    whole(405, "25006", OUTAGE, "cannot execute INSERT in a read-only transaction"),
    Refusal(500, "40001", OUTAGE, "could not serialize access due to concurrent update", None),
    Refusal(500, "40P01", OUTAGE, "deadlock detected", None, details=SECRET),
    Refusal(
        503,
        "53300",
        OUTAGE,
        "remaining connection slots are reserved for roles with the SUPERUSER attribute",
        None,
    ),
    Refusal(503, "53400", OUTAGE, "could not extend file: No space left on device", None),
    Refusal(503, "57P01", OUTAGE, "terminating connection due to administrator command", None),
    Refusal(503, "08006", OUTAGE, "connection to server was lost", None),
    Refusal(500, "55P03", OUTAGE, "could not obtain lock on row in relation users", None),
    Refusal(500, "XX000", OUTAGE, f"cache lookup failed for {SECRET}", None),
    Refusal(500, "54001", OUTAGE, "stack depth limit exceeded", None),
    Refusal(429, "23502", OUTAGE, f"{SECRET} asks too often", None),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
def test_refusal_of_postgrest_is_read_without_the_values_of_any_row(refusal: Refusal) -> None:
    body = {
        "code": refusal.code,
        "details": refusal.details,
        "hint": refusal.hint,
        "message": refusal.message,
    }
    failure = read(refusal.status, body)
    column = re.match(r"Key \((\w+)\)", refusal.details or "")
    if refusal.code == "23502" and refusal.kind is REFUSED:
        column = re.search(r'column "(\w+)"', refusal.message)
    assert failure == Failure(
        refusal.kind,
        refusal.code,
        refusal.kept or f"Supabase answered {refusal.status}",
        field=FIELDS.get(column[1]) if column and refusal.kind in BLAMING else None,
    )
    assert SECRET not in repr(failure)


@pytest.mark.parametrize(
    ("code", "message", "details", "field"),
    [
        ("23503", FOREIGN_KEY, 'Key (memberId)=(1) is not present in table "users".', "user_id"),
        ("23503", FOREIGN_KEY, 'Key (trip_id)=(1) is not present in table "trips".', None),
        ("23503", FOREIGN_KEY, 'Key (memberId, a)=(1, 2) is not present in table "x".', None),
        ("23502", NOT_NULL, FAILING_ROW, "startDate"),
        ("23502", NOT_NULL.replace("start_date", "other"), FAILING_ROW, None),
        ("23505", 'duplicate key value violates unique constraint "x"', "Key (memberId)=(1)", None),
    ],
)
def test_column_that_is_to_blame_is_given_as_the_field_it_is_written_from(
    code: str, message: str, details: str, field: str | None
) -> None:
    body = json.dumps({"code": code, "message": message, "details": details, "hint": None})
    failure = read_failure(
        409,
        {},
        body.encode(),
        now_seconds=NOW_SECONDS,
        fields={"memberId": "user_id", "start_date": "startDate"},
    )
    assert failure.field == field


# What is not PostgREST's form


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        # Supabase's gateway
        (
            401,
            b'{"message":"Invalid API key","hint":"Double check your Supabase `anon` or'
            b' `service_role` API key."}',
            MISCONFIGURED,
            "Invalid API key",
        ),
        (
            401,
            b'{"message":"No API key found in request","hint":"No `apikey` request header"}',
            MISCONFIGURED,
            None,
        ),
        (403, b"", MISCONFIGURED, None),
        (404, b'{"message":"no Route matched with those values"}', MISCONFIGURED, None),
        (408, b"", OUTAGE, None),
        (425, b"", OUTAGE, None),
        (429, b'{"message":"API rate limit exceeded"}', OUTAGE, None),
        (500, b'{"message":"An unexpected error occurred"}', OUTAGE, None),
        (500, b'{"code":"SUP","message":"connection lost"}', OUTAGE, None),  # @supabase/lite
        (500, b'{"code":"PGRSTX00","message":"internal"}', OUTAGE, None),
        (502, PAGE, OUTAGE, None),
        (503, PAGE, OUTAGE, None),
        (504, PAGE, OUTAGE, None),
        (520, PAGE, OUTAGE, None),
        (540, b"project paused", OUTAGE, None),
        (599, b"", OUTAGE, None),
        # Too large for something on the way: the half of it may pass
        (413, PAGE, OURS, None),
        (414, PAGE, OURS, None),
        # Something else than PostgREST answers: no row is to blame, so none may die of it
        (300, b"", MISCONFIGURED, None),
        (301, b"", MISCONFIGURED, None),
        (302, PAGE, MISCONFIGURED, None),
        (308, b"", MISCONFIGURED, None),
        (400, PAGE, MISCONFIGURED, None),
        (400, b"", MISCONFIGURED, None),
        (400, b'{"code":400,"msg":"Bad request"}', MISCONFIGURED, None),
        (404, PAGE, MISCONFIGURED, None),
        (405, b"", MISCONFIGURED, None),
        (418, b'"teapot"', MISCONFIGURED, None),
    ],
)
def test_answer_of_something_before_postgrest_is_read_by_its_status(
    status: int, body: bytes, kind: FailureKind, message: str | None
) -> None:
    assert read(status, body) == Failure(
        kind, f"HTTP {status}", message or f"Supabase answered {status}"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'[{"code": "23502"}]',
        b'"23502"',
        b"{}",
        b'{"code": null, "message": null}',
        b'{"code": 23502, "message": ["x"]}',
        b'{"code": "2350", "message": {}}',
        b'{"code": "235022"}',
        b'{"code": "23502\\n"}',
        b'{"code": "pgrst"}',
        b'{"code": "PGRST20"}',
        b'{"code": "PGRST2055"}',
        b'{"code": "\\u0662\\u0663\\u0665\\u0660\\u0662"}',
        b'{"code": {"a": "23502"}}',
        b"\xff\xfe",
        b"\x00",
        b"[" * 60_000,
        b"1" * 60_000,
    ],
    ids=lambda body: repr(body)[:24],
)
@pytest.mark.parametrize(("status", "kind"), [(400, MISCONFIGURED), (500, OUTAGE)])
def test_body_without_a_code_is_read_by_its_status(
    body: bytes, status: int, kind: FailureKind
) -> None:
    assert read(status, body) == Failure(kind, f"HTTP {status}", f"Supabase answered {status}")


# When to come back


@pytest.mark.parametrize("status", [429, 503, 500, 409])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("120", 120.0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Thursday, 01-Jan-26 00:02:00 GMT", 120.0),  # RFC 850
        ("Thu Jan  1 00:02:00 2026", 120.0),  # asctime
        ("Wed, 31 Dec 2025 23:59:59 GMT", 0.0),  # it has passed
        ("Thu, 01 Jan 2026 01:02:00 +0100", 120.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("5, 5", None),
        ("0x10", None),
        ("\u0665", None),
        ("NaN", None),
        ("inf", None),
        ("Thu, 32 Jan 2026 00:02:00 GMT", None),
        ("Thu, 01 Jan 2026", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date_is_kept(
    status: int, value: str, seconds: float | None
) -> None:
    assert read(status, headers={"retry-after": value}).retry_after_seconds == seconds


def test_retry_after_not_sent_is_none() -> None:
    assert read(429, headers={"date": "x"}).retry_after_seconds is None


@pytest.mark.parametrize(
    "value",
    [
        "Thu, 01 Jan 99999999999 00:00:00 GMT",
        "Thu, 01 Jan 2026 00:00:00 +99999999999999",
        "Thu, 01 Jan 2026 99999999999:00:00 GMT",
        "9" * 5_000,
    ],
    ids=lambda value: value[:40],
)
def test_retry_after_out_of_all_bounds_is_not_obeyed(value: str) -> None:
    assert read(503, headers={"retry-after": value}).retry_after_seconds is None


# Anything

codes = st.sampled_from(sorted({refusal.code for refusal in REFUSALS})) | st.text(max_size=8)
messages = st.sampled_from([refusal.message for refusal in REFUSALS]) | st.text()
bodies = st.fixed_dictionaries(
    {},
    optional={
        "code": codes | st.none() | st.integers(),
        "message": messages | st.none() | st.lists(messages, max_size=2),
        "details": messages | st.none(),
        "hint": messages | st.none(),
    },
)
retry_afters = (
    st.text(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2}, \d{1,12} Jan \d{1,12} \d{1,12}:\d\d:\d\d ([+-]\d{1,20}|GMT)")
    | st.datetimes().map(lambda moment: moment.strftime("%a, %d %b %Y %H:%M:%S GMT"))
)


@given(
    status=st.integers(300, 599),
    body=st.binary() | bodies.map(lambda body: json.dumps(body).encode()),
    retry_after=st.none() | retry_afters,
)
@example(status=400, body=b"\xef\xbb\xbf{}", retry_after="Thu, 01 Jan 0001 00:00:00 +2359")
@example(status=400, body=b"1" * 5_000, retry_after=None)
def test_answer_of_any_bytes_is_read_into_what_can_be_stored(
    status: int, body: bytes, retry_after: str | None
) -> None:
    headers = {} if retry_after is None else {"retry-after": retry_after}
    failure = read(status, body, headers)
    assert failure.kind in FailureKind
    assert failure.retry_after_seconds is None or failure.retry_after_seconds >= 0.0
    assert failure.code.isascii()
    assert failure.code.isprintable()
    assert 0 < len(failure.message) <= 1_000
    # PostgreSQL takes no NUL and nothing takes a lone surrogate; it could not even be recorded.
    assert "\0" not in failure.message
    failure.message.encode()


@pytest.mark.parametrize("character", ["\0", "\ud800", "\n", "\x1b"])
@pytest.mark.parametrize("template", [NOT_NULL, FOREIGN_KEY], ids=["not null", "foreign key"])
def test_message_with_a_name_that_no_table_has_is_not_kept(template: str, character: str) -> None:
    message = template.replace("trip", f"trip{character}")
    assert read(400, {"code": "23502", "message": message}).message == "Supabase answered 400"


def test_message_without_end_is_cut_or_dropped() -> None:
    message = f"invalid input syntax for type {'a' * 60_000}"
    assert len(read(400, {"code": "22P02", "message": message}).message) <= 1_000


# Where the database quotes a value, around it
QUOTING = [
    'invalid input syntax for type uuid: "{}"',
    'invalid input syntax for type timestamp with time zone: "{}"',
    'invalid input value for enum membership_status: "{}"',
    'invalid input value for enum public."Role": "{}"',
    'value "{}" is out of range for type integer',
    'date/time field value out of range: "{}"',
    'malformed array literal: "{}"',
    'invalid byte sequence for encoding "UTF8": {}',
    'value for domain email violates check constraint "email_check" {}',
    "JWT expired {}",
    "Invalid API key {}",
    "value too long for type character varying(10): {}",
    'null value in column "name" of relation "trips" violates not-null constraint {}',
    'duplicate key value violates unique constraint "users_email_key" ({})',
    "permission denied for table users: {}",
    "{}",
    "{} may not join",
    '"{}": duplicate key value violates unique constraint "users_email_key"',
    "{}\ninvalid input syntax for type uuid",
    "Key (email)=({}) already exists.",
    "Failing row contains (1, {}, null).",
    'Perhaps you meant "{}"',
]
# Letters of no message above, so that whatever is seen of them is a value's.
values = st.text("ΑΒΓΔαβγδ", min_size=1, max_size=40)
quotes = st.tuples(st.sampled_from(QUOTING), values).map(lambda pair: pair[0].format(pair[1]))


@given(
    status=st.integers(300, 599),
    code=st.sampled_from(sorted({refusal.code for refusal in REFUSALS})) | st.just("HTTP"),
    message=quotes,
    details=quotes,
    hint=quotes,
    more=st.dictionaries(values, values, max_size=2),
)
def test_value_quoted_anywhere_is_never_kept(
    status: int, code: str, message: str, details: str, hint: str, more: dict[str, Any]
) -> None:
    body = {"code": code, "message": message, "details": details, "hint": hint, **more}
    failure = read(status, body)
    assert failure.message.isascii()
    assert failure.code.isascii()


@pytest.mark.parametrize("code", ["P0001", "PT409"])
@pytest.mark.parametrize(
    "message",
    [
        f'relation "{SECRET}" does not exist',
        "invalid input syntax for type Ada Lovelace",
        f'duplicate key value violates unique constraint "{SECRET}"',
    ],
)
def test_message_that_a_trigger_words_like_the_database_is_not_kept(
    code: str, message: str
) -> None:
    failure = read(400, {"code": code, "message": message})
    assert failure == Failure(REFUSED, code, "Supabase answered 400")
