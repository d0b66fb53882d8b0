"""`GET /events`: filters, order and pages."""

from typing import Any

import httpx
import pytest

from tests.api.relay_harness import (
    HISTORY,
    TRIP,
    USER,
    Body,
    RelayStarter,
    RunningRelay,
    assert_problem,
    make_body,
    number_ids,
    pointers,
    refuse_rows,
)
from tests.fake_postgrest import is_write

LISTED = HISTORY | {
    "evt_late": make_body("trip.updated", at="2026-01-02T02:59:59Z", name="Rome"),
}


@pytest.fixture
async def dated(relay: RunningRelay) -> RunningRelay:
    """A relay whose events came a minute apart, from :04 on; the user is dead."""
    refuse_rows(relay.postgrest, of="users")
    for event_id, body in LISTED.items():
        await relay.send_and_wait(body, event_id)
        relay.clock.advance(60)
    relay.postgrest.hang(of=is_write)
    await relay.send(make_body("user.created", id=TRIP), "evt_waits")
    return relay


async def list_events(relay: RunningRelay, query: str | dict[str, Any] = "") -> httpx.Response:
    path = f"/events?{query}" if isinstance(query, str) else "/events"
    params = None if isinstance(query, str) else query
    return await relay.http.get(path, params=params, headers=relay.bear("events:read"))


async def read_page(relay: RunningRelay, query: str | dict[str, Any] = "") -> Body:
    response = await list_events(relay, query)
    assert response.status_code == 200, response.text
    page: Body = response.json()
    assert page.keys() == {"events", "next_cursor"}
    return page


def ids_of(page: Body) -> list[str]:
    return [event["event_id"] for event in page["events"]]


NEWEST_FIRST = ["evt_waits", "evt_late", "evt_trip_again", "evt_member", "evt_trip", "evt_user"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", NEWEST_FIRST),
        ("since=2026-01-02T03:08:05Z", ["evt_waits", "evt_late"]),
        ("since=2026-01-02T03:08:05.000001Z", ["evt_waits"]),
        ("until=2026-01-02T03:05:05Z", ["evt_user"]),
        ("until=2026-01-02T03:05:05.000001Z", ["evt_trip", "evt_user"]),
        ("since=2026-01-02T04:05:05%2B01:00&until=2026-01-02T03:06:05Z", ["evt_trip"]),
        ("types=user.created", ["evt_waits", "evt_user"]),
        ("types=trip.*", ["evt_late", "evt_trip_again", "evt_trip"]),
        ("types=trip.created,membership.*", ["evt_member", "evt_trip"]),
        ("types=trip.created&types=membership.*", ["evt_member", "evt_trip"]),
        ("types=user.deleted", []),
        (f"entity=trip/{TRIP}", ["evt_late", "evt_trip_again", "evt_trip"]),
        (f"entity=user/{USER.upper()}", ["evt_user"]),
        (f"entity=membership/{TRIP}/{USER}", ["evt_member"]),
        (f"entity=user%2F{TRIP}", ["evt_waits"]),
        (f"entity=trip/{USER}", []),
        ("status=dead", ["evt_user"]),
        ("status=pending", ["evt_waits"]),
        ("status=applied", ["evt_trip_again", "evt_member"]),
        ("status=superseded", ["evt_late", "evt_trip"]),
        ("status=superseded&types=trip.updated", ["evt_late"]),
        (f"status=applied&entity=trip/{TRIP}&types=trip.*", ["evt_trip_again"]),
        (
            f"status=superseded&entity=trip/{TRIP}&types=trip.updated"
            "&since=2026-01-02T03:08:00Z&until=2026-01-02T03:09:00Z",
            ["evt_late"],
        ),
        ("status=dead&types=trip.*", []),
        ("error_code=23514", ["evt_user"]),
        ("error_code=23503", []),
        ("error=new+row+violates+check+constraint+%22c%22", ["evt_user"]),
        ("error=violates+check+constraint+%22c%22", []),
        (
            "status=dead&error_code=23514&error=new+row+violates+check+constraint+%22c%22",
            ["evt_user"],
        ),
        ("status=superseded&error_code=23514", []),
    ],
)
async def test_events_by_any_filter_are_listed_newest_first(
    dated: RunningRelay, query: str, expected: list[str]
) -> None:
    page = await read_page(dated, query)
    assert (ids_of(page), page["next_cursor"]) == (expected, None)
    # One by one they are the same.
    found, cursor = list[str](), ""
    for _ in range(len(expected) + 1):
        page = await read_page(dated, f"limit=1&{query}{cursor}")
        found += ids_of(page)
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert found == expected


async def test_events_in_a_list_are_shown_as_each_alone_is(dated: RunningRelay) -> None:
    for event in (await read_page(dated))["events"]:
        assert event == (await dated.look_up(event["event_id"])).json()


async def test_events_of_a_list_show_no_personal_data_but_ids(dated: RunningRelay) -> None:
    response = await list_events(dated)
    assert USER in response.text
    assert "ada" not in response.text
    assert "@" not in response.text


@pytest.mark.parametrize("limit", [1, 7, 50, 199, 200])
async def test_events_are_each_listed_once_while_others_arrive(
    relay: RunningRelay, limit: int
) -> None:
    relay.postgrest.hang(of=is_write)
    ids = list(number_ids(120))
    items = [{"id": f"evt_{n}", **make_body("user.created", id=id_)} for n, id_ in enumerate(ids)]
    await relay.send_batch(*items[:60])
    # The clock stands still, or goes back: the order of receipt is that of sequence then.
    await relay.send_batch(*items[60:])
    known = [item["id"] for item in reversed(items)]
    listed, query = list[str](), {"limit": limit}
    arrived = 0
    while query.get("cursor", "") is not None:
        page = await read_page(relay, query)
        assert len(page["events"]) <= limit
        listed += ids_of(page)
        query["cursor"] = page["next_cursor"]
        relay.clock.advance(-1 if arrived % 2 else 2)
        arrived += 1
        await relay.send(make_body("user.created", at="2026-01-02T02:00:00Z"), f"new_{arrived}")
    assert len(set(listed)) == len(listed)
    assert [event_id for event_id in listed if event_id.startswith("evt_")] == known


async def test_events_are_fifty_to_a_page_by_default(relay: RunningRelay) -> None:
    bodies = [make_body("user.created", id=id_) for id_ in number_ids(51)]
    await relay.send_batch(*({"id": f"evt_{n}", **body} for n, body in enumerate(bodies)))
    assert len((await read_page(relay))["events"]) == 50


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("since=yesterday", ["/query/since"]),
        ("since=", ["/query/since"]),
        ("since=2026-01-02T03:04:05", ["/query/since"]),
        ("since=2026-01-02T03:04:05+01:00", ["/query/since"]),  # a plus sign is a space
        ("until=1767323045", ["/query/until"]),
        ("since=2026-01-02T03:04:05Z&until=2026-01-02T03:04:05Z", ["/query"]),
        ("since=2026-01-02T03:04:06Z&until=2026-01-02T03:04:05Z", ["/query"]),
        ("types=", ["/query/types"]),
        ("types=trip.renamed", ["/query/types"]),
        ("types=trip.*&types=", ["/query/types"]),
        ("types=" + ",".join(["trip.*"] * 51), ["/query/types"]),
        ("entity=trip", ["/query/entity"]),
        (f"entity={TRIP}", ["/query/entity"]),
        (f"entity=trips/{TRIP}", ["/query/entity"]),
        (f"entity=membership/{TRIP}", ["/query/entity"]),
        ("status=DEAD", ["/query/status"]),
        ("error_code=", ["/query/error_code"]),
        ("error=%00", ["/query/error"]),
        ("error=" + "A" * 2001, ["/query/error"]),
        ("status=", ["/query/status"]),
        ("limit=0", ["/query/limit"]),
        ("limit=201", ["/query/limit"]),
        ("limit=-1", ["/query/limit"]),
        ("limit=1e9", ["/query/limit"]),
        ("limit=" + "9" * 5000, ["/query/limit"]),
        ("cursor=", ["/query/cursor"]),
        ("cursor=nowhere", ["/query/cursor"]),
        ("cursor=%00", ["/query/cursor"]),
        ("cursor=%F0%9F%98%80", ["/query/cursor"]),
        ("cursor=%ED%A0%80", ["/query/cursor"]),
        ("cursor=" + "A" * 20_000, ["/query/cursor"]),
        ("event_ids=evt_1", ["/query/event_ids"]),
        ("Status=dead", ["/query/Status"]),
        ("a%2Fb~c=1", ["/query/a~1b~0c"]),
        ("=1", ["/query/"]),
        ("limit=1&limit=1", ["/query/limit"]),
        ("status=dead&status=pending", ["/query/status"]),
        ("limit=0&status=x&more=1", ["/query/status", "/query/limit", "/query/more"]),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_events_by_an_invalid_query_names_every_invalid_parameter(
    relay: RunningRelay, query: str, expected: list[str]
) -> None:
    problem = assert_problem(await list_events(relay, query), 422, "input-invalid")
    assert pointers(problem) == expected


async def test_events_by_thousands_of_parameters_are_rejected(relay: RunningRelay) -> None:
    query = "&".join(f"p{n}=1" for n in range(5000))
    problem = assert_problem(await list_events(relay, query), 422, "input-invalid")
    assert len(pointers(problem)) == 5000


async def test_events_by_a_cursor_of_another_listing_are_rejected(dated: RunningRelay) -> None:
    cursor = (await read_page(dated, "limit=1&types=trip.*"))["next_cursor"]
    assert cursor is not None
    replays = await dated.http.get("/replay", headers=dated.bear("replay:write"))
    assert replays.json()["next_cursor"] is None
    for query in ("", "&types=user.*", "&types=trip.*&status=dead", f"&entity=trip/{TRIP}"):
        response = await list_events(dated, f"cursor={cursor}{query}")
        assert pointers(assert_problem(response, 422, "input-invalid")) == ["/query/cursor"]
    # The same types said in another way are the same listing, and so is any size of page.
    same = "types=trip.updated,trip.deleted&types=trip.created&limit=7"
    assert ids_of(await read_page(dated, f"{same}&cursor={cursor}")) == [
        "evt_trip_again",
        "evt_trip",
    ]


@pytest.mark.parametrize("query", ["", "limit=0", "more=1", "cursor=x"])
async def test_events_without_the_scope_are_not_listed(relay: RunningRelay, query: str) -> None:
    path = f"/events?{query}"
    assert_problem(await relay.http.get(path), 401, "unauthenticated")
    other = relay.bear("replay:write webhooks:write")
    assert_problem(await relay.http.get(path, headers=other), 403, "scope-missing")


async def test_events_without_jwt_settings_are_not_listed(starter: RelayStarter) -> None:
    async with starter.start(jwt_secret=None) as relay:
        assert_problem(await list_events(relay), 403, "operator-access-not-configured")


async def test_events_of_an_unreadable_store_get_a_503(
    relay: RunningRelay,
) -> None:
    relay.query("ALTER TABLE events RENAME TO hidden")
    response = await list_events(relay)
    assert_problem(response, 503, "store-unavailable")
    assert int(response.headers["retry-after"]) >= 1
