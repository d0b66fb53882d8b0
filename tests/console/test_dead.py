"""The view Dead, and replaying a group, without JavaScript."""

import pytest

from tests.api.relay_harness import HISTORY, RunningRelay, make_body, refuse_rows
from tests.console.browsing import Visitor
from tests.console.test_events import find_link, list_ids
from tests.html_page import Page

CHECK = 'new row violates check constraint "c"'
OTHER = 'new row violates check constraint "d"'


@pytest.fixture
async def failing(relay: RunningRelay) -> RunningRelay:
    """A relay with a dead user and membership of one cause, and a dead trip of another."""
    relay.postgrest.fail_row(lambda _, table, __: table == "trips", "23514", OTHER)
    refuse_rows(relay.postgrest, of="users")
    refuse_rows(relay.postgrest, of="trip_memberships")
    for event_id in ("evt_user", "evt_trip", "evt_member"):
        assert await relay.send_and_wait(HISTORY[event_id], event_id) == "dead"
    return relay


@pytest.fixture
def replayer(failing: RunningRelay) -> Visitor:
    visitor = Visitor(failing)
    visitor.sign_in("events:read replay:write")
    return visitor


async def test_dead_are_grouped_by_code_and_message_of_any_kind(failing: RunningRelay) -> None:
    visitor = Visitor(failing)
    visitor.sign_in()
    page = await visitor.open("/console/dead")
    assert "3 entities of 2 causes" in page.text
    assert page.text.index(f"23514 {CHECK}") < page.text.index(f"23514 {OTHER}")
    assert "1 membership , 1 user" in page.text or "1 user , 1 membership" in page.text
    assert "A check, length, enum or NOT NULL in Supabase" in page.text
    assert "Replay" not in page.text
    link = find_link(page, "/console/events?")
    assert link is not None
    assert list_ids(await visitor.open(link)) == ["evt_member", "evt_user"]


async def test_dead_group_is_replayed_after_a_confirmation(replayer: Visitor) -> None:
    link = find_link(await replayer.open("/console/dead"), "/console/replays/new?")
    assert link is not None
    confirmation = await replayer.open(link)
    assert "Replay 2 events of 2 entities?" in confirmation.text
    assert CHECK in confirmation.text
    replayer.relay.postgrest.heal()
    response = await replayer.post("/console/replays", confirmation.read_fields())
    assert response.status_code == 303
    assert await replayer.relay.send_and_wait(HISTORY["evt_member"], "evt_member") == "applied"
    assert await replayer.relay.send_and_wait(HISTORY["evt_user"], "evt_user") == "applied"
    progress = await replayer.open(response.headers["location"])
    assert "2 entities applied" in progress.text
    assert "ops@nomadcrew.test" in progress.text
    text = (await replayer.open("/console/dead")).text
    assert CHECK not in text
    assert OTHER in text
    again = await replayer.open(link)
    assert "Nothing matches any more." in again.text
    assert not any(given.get("action") == "/console/replays" for _, given in again.elements)


async def test_dead_removals_are_pointed_out(operator: Visitor) -> None:
    refuse_rows(operator.relay.postgrest, of="trip_memberships")
    await operator.relay.send_and_wait(make_body("membership.deleted"), "evt_gone")
    text = (await operator.open("/console/dead")).text
    assert "1 removal is dead: users may keep access that was taken away." in text


async def test_dead_without_any_says_so(operator: Visitor) -> None:
    assert "Nothing is dead" in (await operator.open("/console/dead")).text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "give a filter"),
        ("csrf=1&cursor=", "give a filter"),
        ("status=superseded", "must not be superseded"),
        ("status=lost", "/status"),
        ("event_id=evt_none", "no event is stored under this id"),
        ("event_id=%00", "no event is stored under this id"),
    ],
)
async def test_replay_of_invalid_filters_says_why(
    replayer: Visitor, query: str, words: str
) -> None:
    response = await replayer.get(f"/console/replays/new?{query}")
    assert response.status_code == 422
    assert words in Page(response.text).text


@pytest.mark.parametrize("replay_id", ["00000000-0000-0000-0000-000000000000", "%00", "x"])
async def test_replay_that_does_not_exist_is_not_found(replayer: Visitor, replay_id: str) -> None:
    assert (await replayer.get(f"/console/replays/{replay_id}")).status_code == 404


async def test_replay_needs_its_scope(operator: Visitor) -> None:
    for path in ("new?status=dead", "00000000-0000-0000-0000-000000000000"):
        response = await operator.get(f"/console/replays/{path}")
        assert response.status_code == 403
        assert "replay:write" in response.text


async def test_replay_that_runs_reloads_itself_with_javascript_only(replayer: Visitor) -> None:
    link = find_link(await replayer.open("/console/dead"), "/console/replays/new?")
    assert link is not None
    form = (await replayer.open(link)).read_fields()
    response = await replayer.post("/console/replays", form)
    location = response.headers["location"]
    page = await replayer.open(location)
    polled = [given["hx-get"] for _, given in page.elements if "hx-get" in given]
    if polled:
        assert polled == [location]
        assert find_link(page, location) == location
