"""The wire format of requests, byte by byte."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from app.domain.entities import Kind, PendingEntity
from app.supabase.client import SupabaseClient, open_http_client
from app.supabase.planning import plan_request
from app.supabase.targets import MINIMAL_TARGETS, Targets
from tests.supabase.entities import make_entity, make_id
from tests.supabase.fitted_targets import FITTED

URL = "https://project.supabase.test"
ONE, TWO = make_id(1), make_id(2)


async def send(
    *entities: PendingEntity,
    targets: Targets = MINIMAL_TARGETS,
    url: str = URL,
    headers: dict[str, str] | None = None,
) -> httpx.Request:
    """Return the request that the client makes for some entities."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"sequence": 7, "failures": [], "not_tried": []})

    transport = httpx.MockTransport(answer)
    async with open_http_client(url, headers or {}, timeout_seconds=5, transport=transport) as http:
        client = SupabaseClient(http, clock=lambda: 0.0)
        await client.apply(42, 7, plan_request(entities, targets), budget_ms=3000)
    (request,) = requests
    return request


def read_argument(request: httpx.Request) -> Any:
    document = json.loads(request.content)
    assert list(document) == ["request"]
    return json.loads(document["request"])


async def test_request_is_json_in_one_text() -> None:
    request = await send(
        make_entity(Kind.MEMBERSHIP, 2, is_removed=True, parent=1),
        make_entity(Kind.USER, 2),
        make_entity(Kind.USER, 1, username='"\\'),
    )
    assert (request.method, str(request.url)) == ("POST", f"{URL}/rest/v1/rpc/relay_apply")
    argument = (
        '{"epoch":42,"sequence":7,"budget_ms":3000,"operations":['
        '{"operation":"delete","table":"public.trip_memberships","key":["trip_id", "user_id"],'
        f'"rows":[{{"trip_id":"{ONE}","user_id":"{TWO}"}}]}},'
        '{"operation":"upsert","table":"public.users","key":["id"],'
        f'"rows":[{{"id":"{ONE}","email":"é","username":"\\"\\\\"}},'
        f'{{"id":"{TWO}","email":"é","username":"é"}}]}}]}}'
    )
    assert request.content == json.dumps({"request": argument}).encode()


async def test_claim_names_the_protocol() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"protocol": 1, "epoch": 42})

    transport = httpx.MockTransport(answer)
    async with open_http_client(URL, {}, timeout_seconds=5, transport=transport) as http:
        await SupabaseClient(http, clock=lambda: 0.0).claim()
    (request,) = requests
    assert (request.method, str(request.url)) == ("POST", f"{URL}/rest/v1/rpc/relay_claim")
    assert request.content == b'{"request": "{\\"protocol\\": 1}"}'


async def test_request_without_operations_is_a_probe() -> None:
    assert read_argument(await send()) == {
        "epoch": 42,
        "sequence": 7,
        "budget_ms": 3000,
        "operations": [],
    }


async def test_operations_name_mapped_columns_of_the_configured_table() -> None:
    argument = read_argument(
        await send(
            make_entity(Kind.USER, 1),
            make_entity(Kind.TRIP, 1, endDate=1.5, dropped="x"),
            make_entity(Kind.MEMBERSHIP, 2, is_removed=True, parent=1),
            targets=FITTED,
        )
    )
    assert argument["operations"] == [
        {
            "operation": "delete",
            "table": "public.members",
            "key": ["trip_id", "member_id"],
            "rows": [{"trip_id": ONE, "member_id": TWO}],
        },
        {
            "operation": "upsert",
            "table": "app.profiles",
            "key": ["id"],
            "rows": [
                {
                    "id": ONE,
                    "email": "é",
                    "username": "é",
                    "supabase_id": ONE,
                    "deleted_at": None,
                    "source": {"by": "relay"},
                }
            ],
        },
        {
            # It lacks the start date, so it cannot be inserted.
            "operation": "update",
            "table": "public.trips",
            "key": ["tripId"],
            "rows": [{"tripId": ONE, "title": "é", "created_by": "é", "end_date": 1.5}],
        },
    ]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "übersicht", "Trip Members"])
async def test_table_name_of_any_text_arrives_unchanged(name: str) -> None:
    targets = Targets(users=replace(MINIMAL_TARGETS.users, table=name, schema="app"))
    argument = read_argument(await send(make_entity(Kind.USER, 1), targets=targets))
    assert argument["operations"][0]["table"] == f"app.{name}"


@pytest.mark.parametrize(
    "headers", [{"apikey": "sb_secret_x"}, {"apikey": "eyJ", "Authorization": "Bearer eyJ"}]
)
async def test_request_has_the_headers_of_the_key_json_and_public_schema(
    headers: dict[str, str],
) -> None:
    request = await send(make_entity(Kind.USER, 1), headers=headers)
    sent = request.headers
    assert {name: sent.get(name) for name in ("apikey", "Authorization")} == {
        "apikey": headers["apikey"],
        "Authorization": headers.get("Authorization"),
    }
    # Where PostgREST serves another schema first, the functions are in `public` nevertheless.
    assert (sent["content-type"], sent["content-profile"]) == ("application/json", "public")
    assert sent["content-length"] == str(len(request.content))


async def test_url_with_a_path_is_kept() -> None:
    request = await send(url="http://gateway.test:8000/supabase")
    assert str(request.url) == "http://gateway.test:8000/supabase/rest/v1/rpc/relay_apply"


@pytest.mark.parametrize(
    ("timeout_seconds", "connect_seconds"), [(10.0, 5.0), (120.0, 5.0), (2.0, 2.0)]
)
async def test_http_client_connects_within_5_seconds(
    timeout_seconds: float, connect_seconds: float
) -> None:
    async with open_http_client(URL, {}, timeout_seconds=timeout_seconds) as http:
        assert http.timeout == httpx.Timeout(timeout_seconds, connect=connect_seconds)
