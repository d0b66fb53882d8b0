"""The view Drift, and repairing a plan, without JavaScript."""

import asyncio

import pytest

from tests.api.relay_harness import TRIP, USER, RunningRelay
from tests.api.replaying import settle
from tests.api.test_reconcile import add_stranger
from tests.console.browsing import Visitor
from tests.console.test_events import find_link
from tests.html_page import Page


@pytest.fixture
async def storied(relay: RunningRelay) -> RunningRelay:
    """A relay with a history that Supabase holds."""
    await settle(relay)
    return relay


@pytest.fixture
def replayer(storied: RunningRelay) -> Visitor:
    visitor = Visitor(storied)
    visitor.sign_in("events:read replay:write")
    return visitor


@pytest.fixture
def reader(storied: RunningRelay) -> Visitor:
    visitor = Visitor(storied)
    visitor.sign_in()
    return visitor


async def check_now(visitor: Visitor) -> tuple[str, Page]:
    """Request a check by the button, and wait until its page shows the result."""
    form = (await visitor.open("/console/drift")).read_fields()
    return await watch(visitor, "/console/drift", {"csrf": form["csrf"]})


async def watch(visitor: Visitor, path: str, form: dict[str, str]) -> tuple[str, Page]:
    response = await visitor.post(path, form)
    assert response.status_code == 303, response.text
    location = response.headers["location"]
    async with asyncio.timeout(60):
        while "The check is running" in (page := await visitor.open(location)).text:
            assert location in page.list_values("hx-get", tag="div")
    assert list(page.list_values("hx-get", tag="div")) == []
    return location, page


async def test_drift_without_a_check_says_so(operator: Visitor) -> None:
    assert "No check was made yet." in (await operator.open("/console/drift")).text


async def test_check_of_an_equal_supabase_says_so(reader: Visitor) -> None:
    location, page = await check_now(reader)
    assert "Supabase equals the desired state: 3 rows." in page.text
    listed = await reader.open("/console/drift")
    assert "Supabase equals the desired state: 3 rows." in listed.text
    assert find_link(listed, "/console/drift/") == location
    assert "ops@nomadcrew.test completed" in listed.text


async def test_check_lists_leaks_first_and_no_values(reader: Visitor) -> None:
    reader.relay.postgrest.tables["users"][USER,]["email"] = "mallory@example.com"
    add_stranger(reader.relay)
    _, page = await check_now(reader)
    assert "Supabase differs from the desired state: 2 differences." in page.text
    assert page.text.index("leaks extra membership") < page.text.index("other different (email)")
    assert "unknown to the relay" in page.text
    assert "mallory" not in page.html
    assert "1 removal" in page.text
    assert "Repair this plan" not in page.text
    assert "leaks extra membership" in (await reader.open("/console/drift")).text


async def test_drift_is_repaired_after_a_confirmation(replayer: Visitor) -> None:
    add_stranger(replayer.relay)
    location, page = await check_now(replayer)
    link = find_link(page, f"{location}/repair")
    assert link is not None
    confirmation = await replayer.open(link)
    assert "Repair 1 difference?" in confirmation.text
    assert "removes 1 row that no revocation explains" in confirmation.text
    _, repaired = await watch(replayer, "/console/drift/repair", confirmation.read_fields())
    assert "1 entity queued for repair." in repaired.text
    await replayer.relay.watch_health(lambda health: health["backlog"]["pending"] == 0)
    assert len(replayer.relay.postgrest.rows("trip_memberships")) == 1
    assert (TRIP, USER) in replayer.relay.postgrest.tables["trip_memberships"]


async def test_repair_of_an_outdated_plan_is_refused(replayer: Visitor) -> None:
    add_stranger(replayer.relay)
    location, _ = await check_now(replayer)
    form = (await replayer.open(f"{location}/repair")).read_fields()
    replayer.relay.postgrest.tables["users"][USER,]["email"] = "mallory@example.com"
    _, page = await watch(replayer, "/console/drift/repair", form)
    assert "The repair was refused: the plan" in page.text
    assert len(replayer.relay.postgrest.rows("trip_memberships")) == 2


async def test_repair_needs_its_scope_and_a_plan(reader: Visitor, replayer: Visitor) -> None:
    form = (await reader.open("/console/drift")).read_fields() | {"plan_id": "x"}
    response = await reader.post("/console/drift/repair", form)
    assert response.status_code == 403
    assert "replay:write" in response.text
    location, _ = await check_now(reader)
    assert (await reader.get(f"{location}/repair")).status_code == 403
    csrf = (await replayer.open("/console/drift")).read_fields()["csrf"]
    for plan in ({}, {"plan_id": ""}, {"plan_id": "x" * 101}, {"plan_id": "\0"}):
        response = await replayer.post("/console/drift/repair", {"csrf": csrf, **plan})
        assert response.status_code == 422
    assert "Nothing to repair" in (await replayer.open(f"{location}/repair")).text


async def test_differences_are_shown_page_after_page(reader: Visitor) -> None:
    add_stranger(reader.relay)
    reader.relay.postgrest.tables["users"].clear()
    location, _ = await check_now(reader)
    first = await reader.open(f"{location}?limit=1")
    link = find_link(first, f"{location}?cursor=")
    assert link is not None
    second = await reader.open(link)
    assert "leaks" in first.html.partition("Differences")[2]
    assert '<strong class="bad">leaks' not in second.html.partition("<h2>Differences")[2]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/drift/00000000-0000-0000-0000-000000000000", 404),
        ("/console/drift/%00", 404),
        ("/console/drift?cursor=x", 422),
        ("/console/drift?limit=0", 422),
    ],
)
async def test_drift_that_does_not_exist_is_an_error_page(
    operator: Visitor, path: str, status: int
) -> None:
    response = await operator.get(path)
    assert response.status_code == status
    assert "Go to the console" in Page(response.text).text
