"""Shows what an inspection sends, to be judged harmless, and what it makes of answers."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from app.doctor.inspection.probes import Inspection
from app.domain.entities import Kind
from app.domain.failures import RequestFailure
from app.supabase.client import open_http_client
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS

USER_ID = "123e4567-e89b-12d3-a456-426614174000"
MEMBERSHIPS = MINIMAL_TARGETS.memberships
ROLLED_BACK = httpx.Response(406, json={"code": "PGRST116", "message": "x"})

Look = Callable[[Inspection], Awaitable[Any]]
WRITES: list[Look] = [
    lambda inspection: inspection.upsert_nothing(MEMBERSHIPS),
    lambda inspection: inspection.insert_nothing(MEMBERSHIPS),
    lambda inspection: inspection.insert_impossible(MEMBERSHIPS, USER_ID),
    lambda inspection: inspection.update_nothing(MEMBERSHIPS),
    lambda inspection: inspection.remove_nothing(MEMBERSHIPS),
]


async def look(what: Look, response: httpx.Response | Exception) -> tuple[Any, list[httpx.Request]]:
    """Look once over a wire that always answers the same."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    async with open_http_client(
        "https://project.supabase.test",
        {"apikey": "key"},
        timeout_seconds=5,
        transport=httpx.MockTransport(answer),
    ) as http:
        return await what(Inspection(http, clock=lambda: 0.0)), requests


@pytest.mark.parametrize("what", WRITES)
async def test_write_that_is_tried_touches_no_row_and_has_to_be_rolled_back(what: Look) -> None:
    found, requests = await look(what, ROLLED_BACK)

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


async def test_table_of_another_schema_is_named_by_it() -> None:
    target = read_target(Kind.MEMBERSHIP, '{"table": "app.members"}')

    _, (write,) = await look(lambda inspection: inspection.remove_nothing(target), ROLLED_BACK)
    _, (read,) = await look(
        lambda inspection: inspection.read_rows(target, ("role",)), httpx.Response(200, json=[])
    )

    assert (write.url.path, write.headers["content-profile"]) == ("/rest/v1/members", "app")
    assert (read.url.path, read.headers["accept-profile"]) == ("/rest/v1/members", "app")


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (httpx.Response(403, json={"code": "42501", "message": "permission denied"}), "42501"),
        (httpx.ConnectError("refused"), "ConnectError"),
        (httpx.Response(200, html="<h1>Hello</h1>"), "no PostgREST"),
        (httpx.Response(200, json={"rows": []}), "no PostgREST"),
        (httpx.Response(200, json=[1]), "no PostgREST"),
    ],
)
async def test_reading_gives_a_failure_for_all_but_rows(
    response: httpx.Response | Exception, code: str
) -> None:
    found, _ = await look(lambda inspection: inspection.read_rows(MEMBERSHIPS, ("role",)), response)

    assert isinstance(found, RequestFailure)
    assert found.code == code


async def test_update_is_tried_column_by_column_until_one_is_allowed() -> None:
    refused = httpx.Response(403, json={"code": "42501", "message": "permission denied"})

    found, requests = await look(lambda inspection: inspection.update_nothing(MEMBERSHIPS), refused)

    assert found.code == "42501"
    assert [json.loads(request.content) for request in requests] == [
        {column: None} for column in ("trip_id", "user_id", "role", "status")
    ]


@pytest.mark.parametrize(
    "document",
    [[], {}, {"definitions": 1}, {"definitions": {"users": 1, "trips": {"required": 1}}}],
)
async def test_description_of_any_form_is_read(document: object) -> None:
    found, _ = await look(
        lambda inspection: inspection.describe_tables(), httpx.Response(200, json=document)
    )

    assert all(table.columns == frozenset() and table.required == () for table in found.values())
