"""Shows what goes over the wire to Supabase, and that no answer, or none, is ever raised."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.entities import Kind, PendingEntity, RowText
from app.domain.failures import Failure, FailureKind
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.planning import Action, Write, plan_batch
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.supabase.entities import make_entity, make_id
from tests.supabase.fitting import FITTED

URL = "https://project.supabase.test"
KEY_HEADERS = {"apikey": "key", "Authorization": "Bearer key"}
NOW = 1_767_225_600.0

Answer = (
    Callable[[httpx.Request], httpx.Response]
    | Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
)


def make_write(kind: Kind, action: Action, *numbers: int) -> Write:
    return Write(
        MINIMAL_TARGETS[kind],
        action,
        tuple(make_entity(kind, n, action, parent=9) for n in numbers or (1,)),
    )


USERS = make_write(Kind.USER, Action.UPSERT, 1, 2)


async def apply(
    answer: Answer, write: Write = USERS, *, timeout_seconds: float = 5.0
) -> Failure | None:
    """Apply a write over a client like that of the relay. Fails rather than hangs."""
    transport = httpx.MockTransport(answer)
    async with (
        asyncio.timeout(3),
        open_http_client(
            URL, KEY_HEADERS, timeout_seconds=timeout_seconds, transport=transport
        ) as http,
    ):
        return await SupabaseClient(http, clock=lambda: NOW).apply(write)


def record_into(requests: list[httpx.Request], status: int = 201) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status)

    return answer


def raise_error(error: Exception) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        del request
        raise error

    return answer


# Requests

UPSERTS = [
    (Kind.USER, "/rest/v1/users", "id", "id,email,username"),
    (Kind.TRIP, "/rest/v1/trips", "id", "id,name,created_by"),
    (
        Kind.MEMBERSHIP,
        "/rest/v1/trip_memberships",
        "trip_id,user_id",
        "trip_id,user_id,role,status",
    ),
]


@pytest.mark.parametrize(("kind", "path", "on_conflict", "columns"), UPSERTS)
async def test_upsert_posts_the_rows_to_be_merged(
    kind: Kind, path: str, on_conflict: str, columns: str
) -> None:
    requests: list[httpx.Request] = []
    write = make_write(kind, Action.UPSERT, 1, 2, 3)
    assert await apply(record_into(requests), write) is None
    (request,) = requests
    assert (request.method, request.url.host, request.url.path) == (
        "POST",
        "project.supabase.test",
        path,
    )
    assert dict(request.url.params) == {"on_conflict": on_conflict, "columns": columns}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["prefer"].split(",") == [
        "resolution=merge-duplicates",
        "return=minimal",
        "missing=default",
    ]
    assert json.loads(request.content) == [
        json.loads(entity.row or "null") for entity in write.entities
    ]
    assert request.headers["content-length"] == str(len(request.content))


@pytest.mark.parametrize(
    ("kind", "path", "query"),
    [
        (Kind.USER, "/rest/v1/users", {"id": f"in.({make_id(1)},{make_id(2)})"}),
        (Kind.TRIP, "/rest/v1/trips", {"id": f"in.({make_id(1)},{make_id(2)})"}),
        (
            Kind.MEMBERSHIP,
            "/rest/v1/trip_memberships",
            {"or": f"(and(trip_id.eq.{make_id(9)},user_id.in.({make_id(1)},{make_id(2)})))"},
        ),
    ],
)
async def test_removal_deletes_the_rows_named_and_asks_for_none_back(
    kind: Kind, path: str, query: dict[str, str]
) -> None:
    requests: list[httpx.Request] = []
    assert await apply(record_into(requests, 204), make_write(kind, Action.REMOVE, 1, 2)) is None
    (request,) = requests
    assert (request.method, request.url.path) == ("DELETE", path)
    assert dict(request.url.params) == query
    assert request.headers["prefer"] == "return=minimal"
    assert request.content == b""


@pytest.mark.parametrize(
    "headers", [{"apikey": "sb_secret_x"}, {"apikey": "eyJ", "Authorization": "Bearer eyJ"}]
)
async def test_request_carries_the_headers_of_the_key_and_no_others(
    headers: dict[str, str],
) -> None:
    requests: list[httpx.Request] = []
    transport = httpx.MockTransport(record_into(requests))
    async with open_http_client(URL, headers, timeout_seconds=5, transport=transport) as http:
        await SupabaseClient(http, clock=lambda: NOW).apply(USERS)
    sent = requests[0].headers
    assert {name: sent.get(name) for name in ("apikey", "Authorization")} == {
        "apikey": headers["apikey"],
        "Authorization": headers.get("Authorization"),
    }


async def test_url_with_a_path_of_its_own_is_kept() -> None:
    requests: list[httpx.Request] = []
    transport = httpx.MockTransport(record_into(requests))
    url = "http://gateway.test:8000/supabase"
    async with open_http_client(url, {}, timeout_seconds=5, transport=transport) as http:
        await SupabaseClient(http, clock=lambda: NOW).apply(USERS)
    assert str(requests[0].url).startswith("http://gateway.test:8000/supabase/rest/v1/users?")


@pytest.mark.parametrize(
    ("timeout_seconds", "connect_seconds"), [(10.0, 5.0), (120.0, 5.0), (2.0, 2.0)]
)
async def test_http_client_waits_for_every_step_as_long_as_set_and_connects_in_5_seconds(
    timeout_seconds: float, connect_seconds: float
) -> None:
    async with open_http_client(URL, {}, timeout_seconds=timeout_seconds) as http:
        assert http.timeout == httpx.Timeout(timeout_seconds, connect=connect_seconds)
        assert not http.follow_redirects


# Requests to targets of other names


def plan(entity: PendingEntity, targets: Targets = FITTED) -> Write:
    (write,) = plan_batch([entity], targets)
    return write


def update(entity: PendingEntity) -> Write:
    """Make the write of a row that cannot be new."""
    (write,) = plan(entity).break_up(
        Failure(FailureKind.REFUSED, "23502", "null value", field="startDate")
    )
    return write


async def test_rows_of_a_minimal_target_are_sent_as_they_are_stored_to_the_byte() -> None:
    requests: list[httpx.Request] = []
    entity = replace(make_entity(Kind.USER, 1, Action.UPSERT), row=RowText('{ "id" : "é" }'))
    await apply(record_into(requests), plan(entity, MINIMAL_TARGETS))
    (request,) = requests
    assert request.content == '[{ "id" : "é" }]'.encode()
    assert request.url.raw_path == (b"/rest/v1/users?on_conflict=id&columns=id%2Cemail%2Cusername")
    assert not {"content-profile", "accept-profile"} & set(request.headers)


async def test_upsert_writes_the_mapped_columns_in_the_schema_of_the_target() -> None:
    requests: list[httpx.Request] = []
    await apply(record_into(requests), plan(make_entity(Kind.USER, 1, Action.UPSERT)))
    (request,) = requests
    assert (request.method, request.url.path) == ("POST", "/rest/v1/profiles")
    assert request.headers["content-profile"] == "app"
    assert dict(request.url.params) == {
        "on_conflict": "id",
        "columns": "id,email,username,supabase_id,deleted_at,source",
    }
    assert json.loads(request.content) == [
        {
            "id": make_id(1),
            "email": "é",
            "username": "é",
            "supabase_id": make_id(1),
            "deleted_at": None,
            "source": {"by": "relay"},
        }
    ]


async def test_upsert_writes_of_the_extra_fields_those_that_are_there() -> None:
    requests: list[httpx.Request] = []
    entity = make_entity(Kind.TRIP, 1, Action.UPSERT, endDate=None, forgotten="x")
    await apply(record_into(requests), plan(entity))
    (request,) = requests
    assert dict(request.url.params) == {
        "on_conflict": "tripId",
        "columns": "tripId,title,created_by,end_date",
    }
    assert json.loads(request.content) == [
        {"tripId": make_id(1), "title": "é", "created_by": "é", "end_date": None}
    ]


async def test_update_writes_one_row_by_its_key_and_asks_whether_it_is_there() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=[{"tripId": make_id(1)}])

    assert await apply(answer, update(make_entity(Kind.TRIP, 1, Action.UPSERT))) is None
    (request,) = requests
    assert (request.method, request.url.path) == ("PATCH", "/rest/v1/trips")
    assert dict(request.url.params) == {"tripId": f"in.({make_id(1)})", "select": "tripId"}
    assert request.headers["prefer"] == "return=representation"
    assert json.loads(request.content) == {"title": "é", "created_by": "é"}


async def test_update_of_a_row_that_is_not_there_is_refused_and_names_what_is_missing() -> None:
    entity = make_entity(Kind.TRIP, 1, Action.UPSERT, endDate="the value of a row")
    failure = await apply(lambda _: httpx.Response(200, json=[]), update(entity))
    assert failure == Failure(
        FailureKind.REFUSED,
        "23502",
        "trips has no such row to update, and for a new one the event lacks start_date",
    )


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b"[" * 10_000, b"\xff"])
async def test_update_that_is_not_answered_by_rows_stops_everything(body: bytes) -> None:
    write = update(make_entity(Kind.TRIP, 1, Action.UPSERT))
    failure = await apply(lambda _: httpx.Response(200, content=body), write)
    assert failure is not None
    assert failure.kind is FailureKind.MISCONFIGURED


async def test_removal_from_another_schema_names_it() -> None:
    requests: list[httpx.Request] = []
    await apply(record_into(requests, 204), plan(make_entity(Kind.USER, 1, Action.REMOVE)))
    (request,) = requests
    assert (request.method, request.url.path) == ("DELETE", "/rest/v1/profiles")
    assert request.headers["content-profile"] == "app"


async def test_foreign_key_of_a_mapped_column_is_given_as_our_field() -> None:
    body = {
        "code": "23503",
        "details": 'Key (member_id)=(1) is not present in table "users".',
        "message": "",
    }
    write = plan(make_entity(Kind.MEMBERSHIP, 1, Action.UPSERT))
    failure = await apply(lambda _: httpx.Response(409, json=body), write)
    assert failure is not None
    assert failure.field == "user_id"


# Answers


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_success_of_any_kind_means_that_supabase_holds_it(status: int) -> None:
    assert await apply(lambda _: httpx.Response(status, text="whatever")) is None


async def test_refusal_is_read_with_its_status_headers_and_body() -> None:
    body = {
        "code": "23503",
        "details": 'Key (trip_id)=(1) is not present in table "trips".',
        "hint": None,
        "message": 'insert or update on table "trip_memberships" violates foreign key constraint'
        ' "trip_memberships_trip_id_fkey"',
    }
    failure = await apply(
        lambda _: httpx.Response(
            409, json=body, headers={"Retry-After": "Thu, 01 Jan 2026 00:01:00 GMT"}
        ),
        make_write(Kind.MEMBERSHIP, Action.UPSERT),
    )
    assert failure == Failure(
        FailureKind.PARENT_MISSING, "23503", body["message"] or "", 60.0, "trip_id"
    )


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectTimeout("x"),
        httpx.ReadTimeout("x"),
        httpx.WriteTimeout("x"),
        httpx.PoolTimeout("x"),
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.CloseError("x"),
        httpx.RemoteProtocolError("x"),
        httpx.LocalProtocolError("x"),
        httpx.ProxyError("x"),
        httpx.DecodingError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_network_error_of_any_kind_is_an_outage_of_its_name(error: Exception) -> None:
    failure = await apply(raise_error(error))
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.OUTAGE, type(error).__name__)
    assert failure.retry_after_seconds is None


class Body(httpx.AsyncByteStream):
    """A response body, piece by piece; counts the pieces that were asked for."""

    def __init__(self, pieces: Callable[[], AsyncIterator[bytes]]) -> None:
        self._pieces = pieces
        self.taken = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces():
            self.taken += 1
            yield piece

    async def aclose(self) -> None:
        self.is_closed = True


async def cut_in_the_middle() -> AsyncIterator[bytes]:
    yield b'{"code": "23502", "mess'
    raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


async def flow_without_end() -> AsyncIterator[bytes]:
    for _ in range(1_000):
        yield b"x" * 65_536
    raise AssertionError("64 MiB were read")


async def trickle_without_end() -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0)
        yield b""


@pytest.mark.parametrize("status", [200, 201, 400, 500])
async def test_answer_cut_in_the_middle_is_an_outage(status: int) -> None:
    body = Body(cut_in_the_middle)
    failure = await apply(lambda _: httpx.Response(status, stream=body))
    assert failure is not None
    assert (failure.kind, failure.code) == (FailureKind.OUTAGE, "RemoteProtocolError")
    assert body.is_closed


async def test_answer_broken_in_its_compression_is_an_outage() -> None:
    headers = {"Content-Encoding": "gzip"}

    async def pieces() -> AsyncIterator[bytes]:
        yield b"not gzip"

    failure = await apply(lambda _: httpx.Response(400, headers=headers, stream=Body(pieces)))
    assert failure is not None
    assert failure.kind is FailureKind.OUTAGE


@pytest.mark.parametrize(
    ("status", "kind"), [(400, FailureKind.MISCONFIGURED), (502, FailureKind.OUTAGE)]
)
async def test_refusal_with_an_endless_body_is_read_in_part(status: int, kind: FailureKind) -> None:
    body = Body(flow_without_end)
    failure = await apply(lambda _: httpx.Response(status, stream=body))
    assert failure is not None
    assert (failure.kind, failure.code) == (kind, f"HTTP {status}")
    assert body.taken <= 4
    assert body.is_closed


async def test_success_with_an_endless_body_is_not_read_to_its_end() -> None:
    body = Body(flow_without_end)
    assert await apply(lambda _: httpx.Response(200, stream=body)) is None
    assert body.taken <= 4
    assert body.is_closed


async def test_request_that_is_never_answered_ends_with_its_timeout() -> None:
    # The timeout bounds the whole request: a lease is written off against it (section 7).
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return httpx.Response(200, request=request)

    failure = await apply(answer, timeout_seconds=0.05)
    assert failure is not None
    assert failure.kind is FailureKind.OUTAGE


@pytest.mark.parametrize("status", [200, 500])
async def test_answer_that_trickles_without_end_ends_with_the_timeout(status: int) -> None:
    # Each piece comes in time, so no timeout of a single read is ever reached.
    body = Body(trickle_without_end)
    failure = await apply(lambda _: httpx.Response(status, stream=body), timeout_seconds=0.05)
    assert failure is not None
    assert failure.kind is FailureKind.OUTAGE
    assert body.is_closed


@pytest.mark.parametrize(
    "location",
    [
        "https://project.supabase.test/login",
        "/login",
        "",
        "http://[",
        "//",
        "mailto:ops@example.com",
        "https://xn--/",
        "http://a:b",
        "\0",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_to_anywhere_is_not_followed_and_stops_everything(
    status: int, location: str
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(status, headers=[(b"Location", location.encode())])

    failure = await apply(answer)
    assert failure is not None
    assert failure.stops_everything
    assert len(requests) == 1


@settings(max_examples=200)
@given(
    status=st.sampled_from([200, 301, 429, 500]) | st.integers(200, 599),
    location=st.none() | st.binary(max_size=30) | st.from_regex(rb"[a-z]{1,6}:/?/?[!-~]{0,9}"),
    retry_after=st.none() | st.binary(max_size=30),
    encoding=st.sampled_from([None, "gzip", "deflate", "identity", "x"]),
    body=st.binary(),
)
async def test_answer_of_any_bytes_is_read(
    status: int,
    location: bytes | None,
    retry_after: bytes | None,
    encoding: str | None,
    body: bytes,
) -> None:
    values = {
        b"Location": location,
        b"Retry-After": retry_after,
        b"Content-Encoding": encoding and encoding.encode(),
    }
    headers: Any = [(name, value) for name, value in values.items() if value is not None]

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    failure = await apply(lambda _: httpx.Response(status, headers=headers, stream=Body(pieces)))
    assert failure is not None or status < 300


# The probe


async def probe(
    *answers: httpx.Response, targets: Targets = MINIMAL_TARGETS
) -> tuple[Failure | None, list[httpx.Request]]:
    requests: list[httpx.Request] = []
    remaining = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return next(remaining)

    transport = httpx.MockTransport(answer)
    async with open_http_client(URL, {}, timeout_seconds=5, transport=transport) as http:
        client = SupabaseClient(http, clock=lambda: NOW, targets=targets)
        return await client.probe(), requests


async def test_probe_reads_no_row_of_every_table() -> None:
    failure, requests = await probe(*(httpx.Response(200, json=[]) for _ in Kind))
    assert failure is None
    assert [
        (request.method, request.url.path, dict(request.url.params)) for request in requests
    ] == [("GET", path, {"select": columns, "limit": "0"}) for _, path, _, columns in UPSERTS]


async def test_probe_asks_for_the_mapped_columns_where_they_are() -> None:
    _, requests = await probe(*(httpx.Response(200, json=[]) for _ in Kind), targets=FITTED)
    assert [(request.url.path, request.url.params["select"]) for request in requests] == [
        ("/rest/v1/profiles", "id,email,username,supabase_id,deleted_at,source"),
        ("/rest/v1/trips", "tripId,title,created_by,start_date,end_date"),
        ("/rest/v1/members", "trip_id,member_id,role,status,note"),
    ]
    assert [request.headers.get("accept-profile") for request in requests] == ["app", None, None]


async def test_probe_stops_at_the_first_failure_and_names_it() -> None:
    missing = {
        "code": "PGRST205",
        "details": None,
        "hint": "Perhaps you meant the table 'public.tripz'",
        "message": "Could not find the table 'public.trips' in the schema cache",
    }
    failure, requests = await probe(httpx.Response(200, json=[]), httpx.Response(404, json=missing))
    assert failure == Failure(FailureKind.SCHEMA_MISMATCH, "PGRST205", missing["message"] or "")
    assert len(requests) == 2
