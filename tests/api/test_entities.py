"""`GET /entities`: the desired state by digests."""

from typing import Any

import httpx
import pytest

from app.domain.entities import Kind
from app.domain.row_digests import digest_row
from tests.api.relay_harness import (
    TRIP,
    USER,
    Body,
    RunningRelay,
    assert_problem,
    make_body,
    pointers,
)


async def list_entities(relay: RunningRelay, **query: Any) -> httpx.Response:
    return await relay.http.get("/entities", params=query, headers=relay.bear("events:read"))


async def read_page(relay: RunningRelay, **query: Any) -> Body:
    response = await list_entities(relay, **query)
    assert response.status_code == 200, response.text
    page: Body = response.json()
    assert page.keys() == {"entities", "next_cursor"}
    return page


async def test_each_kind_is_listed_with_digests(relay: RunningRelay) -> None:
    for number, kind in enumerate(Kind):
        body = make_body(f"{kind}.created")
        await relay.send(body, f"evt_{number}")
        page = await read_page(relay, kind=kind)
        assert page == {
            "entities": [
                {
                    "key": f"{TRIP}/{USER}" if kind is Kind.MEMBERSHIP else body["data"]["id"],
                    "version_at": "2026-01-02T03:00:00Z",
                    "is_removed": False,
                    "digest": digest_row(kind, body["data"]),
                }
            ],
            "next_cursor": None,
        }


async def test_removed_entity_has_no_digest(relay: RunningRelay) -> None:
    await relay.send(make_body("user.deleted"))
    (entity,) = (await read_page(relay, kind="user"))["entities"]
    assert (entity["is_removed"], entity["digest"]) == (True, None)


async def test_listing_contains_no_personal_data(relay: RunningRelay) -> None:
    await relay.send(make_body("user.created"))
    response = await list_entities(relay, kind="user")
    assert "ada" not in response.text


async def test_cursor_leads_to_the_next_page(relay: RunningRelay) -> None:
    for number, trip in enumerate((TRIP, USER)):
        await relay.send(make_body("trip.created", id=trip), f"evt_{number}")
    first = await read_page(relay, kind="trip", limit=1)
    second = await read_page(relay, kind="trip", limit=1, cursor=first["next_cursor"])
    assert [each["key"] for page in (first, second) for each in page["entities"]] == [USER, TRIP]
    assert second["next_cursor"] is None


async def test_cursor_of_another_kind_is_rejected(relay: RunningRelay) -> None:
    for number, trip in enumerate((TRIP, USER)):
        await relay.send(make_body("trip.created", id=trip), f"evt_{number}")
    cursor = (await read_page(relay, kind="trip", limit=1))["next_cursor"]
    response = await list_entities(relay, kind="user", cursor=cursor)
    assert pointers(assert_problem(response, 422, "input-invalid")) == ["/query/cursor"]


async def test_memberships_of_a_user_are_listed_page_by_page(relay: RunningRelay) -> None:
    pairs = [(TRIP, USER), (USER, USER), (TRIP, TRIP)]
    for number, (trip, user) in enumerate(pairs):
        body = make_body("membership.created", trip_id=trip, user_id=user)
        await relay.send(body, f"evt_{number}")
    query = {"kind": "membership", "user_id": USER.upper(), "limit": 1}
    first = await read_page(relay, **query)
    second = await read_page(relay, **query, cursor=first["next_cursor"])
    keys = [each["key"] for page in (first, second) for each in page["entities"]]
    assert keys == sorted([f"{TRIP}/{USER}", f"{USER}/{USER}"])
    assert second["next_cursor"] is None
    others = await list_entities(relay, kind="membership", cursor=first["next_cursor"])
    assert pointers(assert_problem(others, 422, "input-invalid")) == ["/query/cursor"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("", "/query/kind"),
        ("kind=admin", "/query/kind"),
        ("kind=user&limit=0", "/query/limit"),
        ("kind=user&limit=5001", "/query/limit"),
        ("kind=user&cursor=1.2.000000000000", "/query/cursor"),
        ("kind=user&cursor=%00", "/query/cursor"),
        ("kind=user&kind=trip", "/query/kind"),
        ("kind=user&since=1", "/query/since"),
        (f"kind=user&user_id={USER}", "/query/user_id"),
        ("kind=membership&user_id=bo", "/query/user_id"),
    ],
)
async def test_wrong_parameter_is_named(relay: RunningRelay, query: str, pointer: str) -> None:
    response = await relay.http.get(f"/entities?{query}", headers=relay.bear("events:read"))
    assert pointers(assert_problem(response, 422, "input-invalid")) == [pointer]


async def test_listing_needs_the_scope(relay: RunningRelay) -> None:
    without = await relay.http.get("/entities?kind=user")
    assert_problem(without, 401, "unauthenticated")
    wrong = await relay.http.get("/entities?kind=user", headers=relay.bear("replay:write"))
    assert_problem(wrong, 403, "scope-missing")
