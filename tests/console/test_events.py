"""The view Events, read without JavaScript."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.relay_harness import (
    HISTORY,
    TRIP,
    USER,
    RunningRelay,
    make_body,
    refuse_rows,
)
from tests.console.browsing import Visitor
from tests.fake_postgrest import is_write
from tests.html_page import Page

LATE = make_body("trip.updated", at="2026-01-02T02:59:59Z", name="Rome")


@pytest.fixture
async def dated(relay: RunningRelay) -> RunningRelay:
    """A relay whose events came a minute apart, from 03:04:05 on; the user is dead."""
    refuse_rows(relay.postgrest, of="users")
    for event_id, body in (HISTORY | {"evt_late": LATE}).items():
        await relay.send_and_wait(body, event_id)
        relay.clock.advance(60)
    return relay


@pytest.fixture
def reader(dated: RunningRelay) -> Visitor:
    visitor = Visitor(dated)
    visitor.sign_in()
    return visitor


@pytest.fixture
def replayer(dated: RunningRelay) -> Visitor:
    visitor = Visitor(dated)
    visitor.sign_in("events:read replay:write")
    return visitor


def list_ids(page: Page) -> list[str]:
    """List the events that a page links to, in order."""
    links = page.list_values("href", tag="a")
    prefix = "/console/events/"
    return [link.removeprefix(prefix) for link in links if link.startswith(prefix)]


def find_link(page: Page, start: str) -> str | None:
    links = page.list_values("href", tag="a")
    return next((link for link in links if link.startswith(start)), None)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["evt_late", "evt_trip_again", "evt_member", "evt_trip", "evt_user"]),
        # As a form sends what is not filled in.
        (
            "status=dead&types=&entity=&since=&until=&error_code=&error=&event_id=",
            ["evt_user"],
        ),
        ("types=trip.*&status=superseded", ["evt_late", "evt_trip"]),
        ("types=trip.created&types=membership.*", ["evt_member", "evt_trip"]),
        (f"entity=membership/{TRIP}/{USER}", ["evt_member"]),
        ("since=2026-01-02T03:06&until=2026-01-02+03:07", ["evt_member"]),
        ("since=2026-01-02T03:06:05.5&until=2026-01-02T04:07:30%2B01:00", ["evt_trip_again"]),
        ("error_code=23514", ["evt_user"]),
        ("error=new+row+violates+check+constraint+%22c%22", ["evt_user"]),
        ("error_code=23503", []),
    ],
)
async def test_events_by_filters_are_listed(
    reader: Visitor, query: str, expected: list[str]
) -> None:
    page = await reader.open(f"/console/events?{query}")
    assert list_ids(page) == expected
    assert ("No event matches." in page.text) == (not expected)


async def test_events_are_listed_page_after_page(reader: Visitor) -> None:
    path: str | None = "/console/events?types=trip.*&limit=1"
    found = []
    while path is not None:
        page = await reader.open(path)
        found += list_ids(page)
        path = find_link(page, "/console/events?types=trip.%2A&cursor=")
        # The limit is not kept: only tests use it.
        path = path and f"{path}&limit=1"
    assert found == ["evt_late", "evt_trip_again", "evt_trip"]


async def test_events_form_keeps_what_is_filled_in(reader: Visitor) -> None:
    page = await reader.open('/console/events?error="><b>&status=dead&types=trip.*,user.*')
    assert '"><b>' in list(page.list_values("value", tag="input"))
    assert "<b>" not in page.html
    chosen = [given for tag, given in page.elements if tag == "option" and "selected" in given]
    assert len(chosen) == 2


async def test_events_by_an_invalid_filter_say_which(reader: Visitor) -> None:
    response = await reader.get("/console/events?since=yesterday&status=lost&more=1")
    assert response.status_code == 422
    page = Page(response.text)
    assert "/since must be an RFC 3339 date-time" in page.text
    assert "/status" in page.text
    assert "/more" in page.text


async def test_events_by_an_event_id_lead_to_the_event(reader: Visitor) -> None:
    response = await reader.get("/console/events?status=&event_id=+evt_trip+")
    assert (response.status_code, response.headers["location"]) == (303, "/console/events/evt_trip")


async def test_events_without_any_are_empty(operator: Visitor) -> None:
    assert "No event matches." in (await operator.open("/console/events")).text


async def test_events_show_no_personal_data_but_ids(reader: Visitor) -> None:
    for path in ("/console/events", "/console/events/evt_user"):
        page = await reader.open(path)
        assert USER in page.html
        assert "@example.com" not in page.html
        assert "ada" not in page.text


@pytest.mark.parametrize(
    ("event_id", "words"),
    [
        ("evt_trip_again", ["Supabase holds this change.",
                            "Applied to Supabase 2026-01-02 03:07:05"]),
        ("evt_late", ["A later event of the same trip", "Superseded by the version of 2026-01-02"]),
        ("evt_user", ["Fix the cause, then replay it.", "Failed 1 time 23514: new row violates",
                      "Dead not retried until it is replayed"]),
    ],
)  # fmt: skip
async def test_event_is_explained_with_its_timeline(
    reader: Visitor, event_id: str, words: list[str]
) -> None:
    text = (await reader.open(f"/console/events/{event_id}")).text
    assert "Happened at the source 2026-01-02 0" in text
    for each in words:
        assert each in text


async def test_event_that_waits_shows_its_next_attempt(operator: Visitor) -> None:
    operator.relay.postgrest.hang(of=is_write)
    await operator.relay.send(HISTORY["evt_user"], "evt/with ?#%".replace(" ", ""))
    page = await operator.open("/console/events")
    (path,) = [link for link in page.list_values("href", tag="a") if "with" in link]
    text = (await operator.open(path)).text
    assert "waits for its turn" in text
    assert "Next attempt" in text


async def test_event_of_a_membership_leads_to_who_can_read(reader: Visitor) -> None:
    page = await reader.open("/console/events/evt_member")
    link = find_link(page, "/console/access?")
    assert link is not None
    assert parse_qs(urlsplit(link).query) == {"user": [USER], "trip": [TRIP]}


@pytest.mark.parametrize("event_id", ["evt_none", "%00", "x" * 300])
async def test_event_that_is_not_stored_is_not_found(reader: Visitor, event_id: str) -> None:
    response = await reader.get(f"/console/events/{event_id}")
    assert response.status_code == 404
    assert "event" in Page(response.text).text.lower()


async def test_event_is_replayed_by_its_button(replayer: Visitor) -> None:
    replayer.relay.postgrest.heal()
    page = await replayer.open("/console/events/evt_user")
    response = await replayer.post("/console/replays", page.read_fields())
    assert response.status_code == 303
    assert await replayer.relay.send_and_wait(HISTORY["evt_user"], "evt_user") == "applied"
    text = (await replayer.open(response.headers["location"])).text
    assert "1 entity applied" in text
    assert "event_ids: evt_user" in text


async def test_events_offer_no_replay_to_readers(reader: Visitor) -> None:
    for path in ("/console/events?status=dead", "/console/events/evt_user"):
        page = await reader.open(path)
        assert "Replay" not in page.text
    form = {"csrf": page.read_fields()["csrf"], "event_id": "evt_user"}
    response = await reader.post("/console/replays", form)
    assert response.status_code == 403
    assert "replay:write" in response.text


async def test_events_by_filters_are_replayed_after_a_confirmation(replayer: Visitor) -> None:
    plain = await replayer.open("/console/events")
    assert find_link(plain, "/console/replays/new") is None
    page = await replayer.open("/console/events?types=trip.*&since=2026-01-02T03:06")
    link = find_link(page, "/console/replays/new")
    assert link is not None
    confirmation = await replayer.open(link)
    assert "Replay 2 events of 1 entity?" in confirmation.text
    response = await replayer.post("/console/replays", confirmation.read_fields())
    text = (await replayer.open(response.headers["location"])).text
    assert "2 events of 1 entity" in text
