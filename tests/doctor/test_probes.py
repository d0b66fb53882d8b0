"""Probes send requests that change nothing, and read any response."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.doctor.probes import ProbeClient
from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.supabase.client import open_http_client
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS

USER_ID = "123e4567-e89b-12d3-a456-426614174000"
MEMBERSHIPS = MINIMAL_TARGETS.memberships
ROLLED_BACK = httpx.Response(406, json={"code": "PGRST116", "message": "x"})

Use = Callable[[ProbeClient], Awaitable[Any]]
WRITES: list[Use] = [
    lambda client: client.probe_upsert(MEMBERSHIPS),
    lambda client: client.probe_insert(MEMBERSHIPS),
    lambda client: client.probe_invalid_insert(MEMBERSHIPS, USER_ID),
    lambda client: client.probe_update(MEMBERSHIPS),
    lambda client: client.probe_delete(MEMBERSHIPS),
]


async def send(use: Use, response: httpx.Response | Exception) -> tuple[Any, list[httpx.Request]]:
    """Use a client against a server with one response; return the result and the requests."""
    requests: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    async with open_http_client(
        "https://project.supabase.test",
        {},
        timeout_seconds=5,
        transport=httpx.MockTransport(respond),
    ) as http:
        return await use(ProbeClient(http, {"apikey": "key"})), requests


@pytest.mark.parametrize("use", WRITES)
async def test_probed_write_names_no_row_and_requires_a_rollback(use: Use) -> None:
    found, requests = await send(use, ROLLED_BACK)

    assert found is None
    (request,) = requests
    assert request.headers["accept"] == "application/vnd.pgrst.object+json"
    assert "tx=rollback" in request.headers["prefer"]
    match request.method:
        case "POST":
            rows = json.loads(request.content)
            assert rows == [] or [row["trip_id"] for row in rows] == [None, None]
            assert {row["user_id"] for row in rows} <= {USER_ID}
        case _:
            assert request.url.params.get_list("trip_id") == ["is.null", "not.is.null"]


async def test_request_for_a_table_of_another_schema_names_the_schema() -> None:
    target = read_target(Kind.MEMBERSHIP, '{"table": "app.members"}')

    _, (write,) = await send(lambda client: client.probe_delete(target), ROLLED_BACK)
    _, (read,) = await send(
        lambda client: client.read_rows(target, ("role",)), httpx.Response(200, json=[])
    )

    assert (write.url.path, write.headers["content-profile"]) == ("/rest/v1/members", "app")
    assert (read.url.path, read.headers["accept-profile"]) == ("/rest/v1/members", "app")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(403, json={"code": "42501", "message": "permission denied"}), "42501"),
        (httpx.ConnectError("refused"), "ConnectError"),
        (httpx.Response(200, html="<h1>Hello</h1>"), "not PostgREST"),
        (httpx.Response(200, json={"rows": []}), "not PostgREST"),
        (httpx.Response(200, json=[1]), "not PostgREST"),
    ],
)
async def test_read_of_anything_but_rows_returns_a_failure(
    response: httpx.Response | Exception, code: str
) -> None:
    found, _ = await send(lambda client: client.read_rows(MEMBERSHIPS, ("role",)), response)

    assert isinstance(found, RequestFailure)
    assert found.code == code


async def test_update_is_probed_column_by_column_until_one_is_permitted() -> None:
    refused = httpx.Response(403, json={"code": "42501", "message": "permission denied"})

    found, requests = await send(lambda client: client.probe_update(MEMBERSHIPS), refused)

    assert found.code == "42501"
    assert [json.loads(request.content) for request in requests] == [
        {column: None} for column in ("trip_id", "user_id", "role", "status")
    ]


@pytest.mark.parametrize(
    ("document", "required"),
    [
        ([], None),
        ({"definitions": 1}, None),
        ({"definitions": {"trip_memberships": 1}}, None),
        ({"definitions": {"trip_memberships": {"properties": {}, "required": []}}}, None),
        (
            {
                "definitions": {
                    "trip_memberships": {
                        "properties": {"role": {}, "status": {"default": "ACTIVE"}},
                        "required": ["role", "status"],
                    }
                }
            },
            ["role"],
        ),
    ],
)
async def test_required_columns_are_read_from_a_description_of_any_form(
    document: object, required: list[str] | None
) -> None:
    found, _ = await send(
        lambda client: client.read_required_columns(MEMBERSHIPS), httpx.Response(200, json=document)
    )

    assert found == required
