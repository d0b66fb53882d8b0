"""Failed requests are classified by the responses that PostgREST and its gateways send."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.domain.failures import RequestFailure, RequestFailureKind
from app.supabase.errors import read_request_failure

GOLDEN = Path(__file__).parent.parent / "golden" / "postgrest" / "errors.json"
ANSWERS: list[dict[str, Any]] = json.loads(GOLDEN.read_text())
NOW_SECONDS = 1_767_225_600.0  # 2026-01-01T00:00:00Z
SECRET = "ada.secret@example.com"
PAGE = b"<html>\r\n<head><title>Sorry</title></head>\r\n<body>ada.secret@example.com</body></html>"

STALE = RequestFailureKind.STALE
BUSY = RequestFailureKind.BUSY
MISCONFIGURED = RequestFailureKind.MISCONFIGURED
UNAVAILABLE = RequestFailureKind.UNAVAILABLE

# By prefix of the response's name: its class, its code, and whether its message is kept.
EXPECTED: Mapping[str, tuple[RequestFailureKind, str, bool]] = {
    "PGRST202 function missing": (MISCONFIGURED, "PGRST202", True),
    "PGRST202 function with another parameter": (MISCONFIGURED, "PGRST202", True),
    "PGRST000": (UNAVAILABLE, "PGRST000", True),
    "PGRST001": (UNAVAILABLE, "PGRST001", True),
    "PGRST002": (UNAVAILABLE, "PGRST002", True),
    "PGRST003": (UNAVAILABLE, "PGRST003", True),
    "PGRST100": (MISCONFIGURED, "PGRST100", False),
    "PGRST102": (MISCONFIGURED, "PGRST102", False),
    "PGRST106": (MISCONFIGURED, "PGRST106", True),
    "PGRST117": (MISCONFIGURED, "PGRST117", False),
    "PGRST300": (UNAVAILABLE, "PGRST300", False),
    "PGRST301 signature": (MISCONFIGURED, "PGRST301", True),
    "PGRST301 parts": (MISCONFIGURED, "PGRST301", False),
    "PGRST301 JWT expired": (MISCONFIGURED, "PGRST301", True),
    "PGRST301 JWT not yet valid": (MISCONFIGURED, "PGRST301", False),
    "PGRST302": (MISCONFIGURED, "PGRST302", False),
    "PGRST303": (MISCONFIGURED, "PGRST303", True),
    "22023": (MISCONFIGURED, "22023", True),
    "42501": (MISCONFIGURED, "42501", True),
    "42P01": (MISCONFIGURED, "42P01", True),
    "PT409": (STALE, "PT409", False),
    "0A000": (MISCONFIGURED, "0A000", True),
    "55P03": (BUSY, "55P03", True),
    "57014": (UNAVAILABLE, "57014", True),
    "57P01": (UNAVAILABLE, "57P01", False),
    "53300": (UNAVAILABLE, "53300", False),
    "25006": (UNAVAILABLE, "25006", True),
    "40P01": (UNAVAILABLE, "40P01", False),
    "XX000": (UNAVAILABLE, "XX000", False),
    "401 secret key revoked": (MISCONFIGURED, "HTTP 401", False),
    "401 legacy keys disabled": (MISCONFIGURED, "HTTP 401", True),
    "401 key unknown": (MISCONFIGURED, "HTTP 401", True),
    "401 key missing": (MISCONFIGURED, "HTTP 401", False),
    "402 over quota": (MISCONFIGURED, "HTTP 402", False),
    "403 firewall": (UNAVAILABLE, "HTTP 403", False),
    "404 no route": (MISCONFIGURED, "HTTP 404", False),
    "429": (UNAVAILABLE, "HTTP 429", False),
    "502": (UNAVAILABLE, "HTTP 502", False),
    "503": (UNAVAILABLE, "HTTP 503", False),
    "504": (UNAVAILABLE, "HTTP 504", False),
    "520": (UNAVAILABLE, "HTTP 520", False),
    "522": (UNAVAILABLE, "HTTP 522", False),
    "540": (UNAVAILABLE, "HTTP 540", False),
    "544": (UNAVAILABLE, "HTTP 544", False),
}


def read(
    status: int, body: bytes | Mapping[str, object] = b"", headers: Mapping[str, str] | None = None
) -> RequestFailure:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_request_failure(status, headers or {}, encoded, now_seconds=NOW_SECONDS)


def read_golden(answer: dict[str, Any]) -> RequestFailure:
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    return read(answer["status"], answer["body"].encode(), headers)


# Responses of PostgREST and of gateways before it


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: str(answer["name"]))
def test_response_recorded_is_classified_as_in_the_contract(answer: dict[str, Any]) -> None:
    # The longest: some names share a prefix.
    name = max((name for name in EXPECTED if answer["name"].startswith(name)), key=len)
    kind, code, is_kept = EXPECTED[name]
    failure = read_golden(answer)
    assert (failure.kind, failure.code) == (kind, code)
    if is_kept:
        assert failure.message == json.loads(answer["body"])["message"]
    else:
        assert str(answer["status"]) in failure.message
    asked = answer["headers"].get("Retry-After")
    assert failure.retry_after_seconds == (None if asked is None else float(asked))


def test_recorded_responses_cover_every_class() -> None:
    assert {read_golden(answer).kind for answer in ANSWERS} == set(RequestFailureKind)
    used = {name for name in EXPECTED for each in ANSWERS if each["name"].startswith(name)}
    assert used == set(EXPECTED)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (402, b"", MISCONFIGURED, "Supabase responded 402"),
        (403, {"message": "denied"}, MISCONFIGURED, "Supabase responded 403"),
        (403, {"code": "28000", "message": "role x may not log in"}, MISCONFIGURED, None),
        # Unreachable or something else: a probe decides.
        (401, PAGE, UNAVAILABLE, "the server that responded 401 is not Supabase's API"),
        (404, PAGE, UNAVAILABLE, "the server that responded 404 is not Supabase's API"),
        (418, b'"teapot"', UNAVAILABLE, "the server that responded 418 is not Supabase's API"),
        (403, b"", UNAVAILABLE, "Supabase responded 403"),
        (408, b"", UNAVAILABLE, "Supabase responded 408"),
        (413, PAGE, UNAVAILABLE, "the server that responded 413 is not Supabase's API"),
        (425, b"", UNAVAILABLE, "Supabase responded 425"),
        (429, {"code": "42501", "message": "x"}, UNAVAILABLE, "Supabase responded 429"),
        (500, {"code": "SUP", "message": "connection lost"}, UNAVAILABLE, "Supabase responded 500"),
        (599, PAGE, UNAVAILABLE, "Supabase responded 599"),
        # Redirects are not followed: PostgREST sends none.
        (301, b"", MISCONFIGURED, "Supabase responded 301"),
        (302, PAGE, MISCONFIGURED, "the server that responded 302 is not Supabase's API"),
        # The fence's code decides, whatever status a proxy sets.
        (500, {"code": "PT409", "message": SECRET}, STALE, None),
        (503, {"code": "55P03", "message": SECRET}, BUSY, None),
    ],
)
def test_response_of_another_form_is_classified_by_status(
    status: int,
    body: bytes | Mapping[str, object],
    kind: RequestFailureKind,
    message: str | None,
) -> None:
    failure = read(status, body)
    assert failure.kind is kind
    assert failure.message == (message or f"Supabase responded {status}")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"null",
        b"[]",
        b'[{"code": "42501"}]',
        b'"42501"',
        b"{}",
        b'{"code": null, "message": null}',
        b'{"code": 42501, "message": ["x"]}',
        b'{"code": "4250", "message": {}}',
        b'{"code": "425012"}',
        b'{"code": "42501\\n"}',
        b'{"code": "pgrst"}',
        b'{"code": "PGRST20"}',
        b'{"code": "PGRST2055"}',
        b'{"code": "\\u0664\\u0662\\u0665\\u0660\\u0661"}',
        b'{"code": {"a": "42501"}}',
        b"\xff\xfe",
        b"\x00",
        b"[" * 60_000,
        b"1" * 60_000,
    ],
    ids=lambda body: repr(body)[:24],
)
@pytest.mark.parametrize("status", [400, 500])
def test_body_without_a_code_is_classified_by_status(body: bytes, status: int) -> None:
    failure = read(status, body)
    assert (failure.kind, failure.code) == (UNAVAILABLE, f"HTTP {status}")
    assert str(status) in failure.message


# Retry-After


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
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Thu, 01 Jan 2026 00:00:00 +99999999999999", None),
        ("Thu, 01 Jan 2026 99999999999:00:00 GMT", None),
        ("9" * 5_000, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_retry_after_in_seconds_or_as_a_date_is_kept(
    status: int, value: str, seconds: float | None
) -> None:
    assert read(status, headers={"retry-after": value}).retry_after_seconds == seconds


def test_retry_after_not_sent_is_none() -> None:
    assert read(429, headers={"date": "x"}).retry_after_seconds is None


# Values of rows

NOT_NULL = 'null value in column "start_date" of relation "trips" violates not-null constraint'
FOREIGN_KEY = (
    'insert or update on table "trip_memberships" violates foreign key constraint'
    ' "trip_memberships_trip_id_fkey"'
)


@pytest.mark.parametrize("character", ["\0", "\ud800", "\n", "\x1b"])
@pytest.mark.parametrize("template", [NOT_NULL, FOREIGN_KEY], ids=["not null", "foreign key"])
def test_message_with_an_impossible_name_is_dropped(template: str, character: str) -> None:
    message = template.replace("trip", f"trip{character}")
    assert read(400, {"code": "23502", "message": message}).message == "Supabase responded 400"


def test_message_of_great_length_is_cut_or_dropped() -> None:
    message = f"invalid input syntax for type {'a' * 60_000}"
    assert len(read(400, {"code": "22P02", "message": message}).message) <= 1_000


@pytest.mark.parametrize("code", ["P0001", "PT402"])
@pytest.mark.parametrize(
    "message",
    [
        f'relation "{SECRET}" does not exist',
        "invalid input syntax for type Ada Lovelace",
        f'duplicate key value violates unique constraint "{SECRET}"',
    ],
)
def test_message_of_a_trigger_is_dropped(code: str, message: str) -> None:
    failure = read(400, {"code": code, "message": message})
    assert (failure.code, failure.message) == (code, "Supabase responded 400")


# Messages in which the database quotes a value
QUOTING = [
    'invalid input syntax for type uuid: "{}"',
    'invalid input syntax for type timestamp with time zone: "{}"',
    'invalid input value for enum public."Role": "{}"',
    'value "{}" is out of range for type integer',
    'date/time field value out of range: "{}"',
    'invalid byte sequence for encoding "UTF8": {}',
    "JWT expired {}",
    "Invalid API key {}",
    'null value in column "name" of relation "trips" violates not-null constraint {}',
    'duplicate key value violates unique constraint "users_email_key" ({})',
    "permission denied for table users: {}",
    "{}",
    '"{}": duplicate key value violates unique constraint "users_email_key"',
    "{}\ninvalid input syntax for type uuid",
    "Key (email)=({}) already exists.",
    "Failing row contains (1, {}, null).",
    'Perhaps you meant "{}"',
]
CODES = sorted(code for _, code, _ in EXPECTED.values() if not code.startswith("HTTP"))
# Letters that no message above contains, so that any of them belongs to a value.
values = st.text("ΑΒΓΔαβγδ", min_size=1, max_size=40)
quotes = st.tuples(st.sampled_from(QUOTING), values).map(lambda pair: pair[0].format(pair[1]))


@given(
    status=st.integers(300, 599),
    code=st.sampled_from([*CODES, "22P02", "23502", "23505"]) | st.just("HTTP"),
    message=quotes,
    details=quotes,
    hint=quotes,
    more=st.dictionaries(values, values, max_size=2),
)
def test_message_with_a_quoted_value_is_dropped(
    status: int, code: str, message: str, details: str, hint: str, more: dict[str, Any]
) -> None:
    body = {"code": code, "message": message, "details": details, "hint": hint, **more}
    failure = read(status, body)
    assert failure.message.isascii()
    assert failure.code.isascii()


# Any input

messages = st.text() | quotes
bodies = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from(CODES) | st.text(max_size=8) | st.none() | st.integers(),
        "message": messages | st.none() | st.lists(messages, max_size=2),
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
def test_response_of_any_bytes_gives_a_storable_failure(
    status: int, body: bytes, retry_after: str | None
) -> None:
    failure = read(status, body, {} if retry_after is None else {"retry-after": retry_after})
    assert failure.retry_after_seconds is None or failure.retry_after_seconds >= 0.0
    assert failure.code.isascii()
    assert failure.code.isprintable()
    assert 0 < len(failure.message) <= 1_000
    # PostgreSQL accepts no NUL, and no store accepts a lone surrogate.
    assert "\0" not in failure.message
    failure.message.encode()
