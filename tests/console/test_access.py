"""The view Who can read?, without JavaScript."""

import pytest

from tests.api.relay_harness import HISTORY, TRIP, USER, RunningRelay, make_body
from tests.console.browsing import Visitor
from tests.console.test_events import find_link
from tests.html_page import Page

PATH = f"/console/access?user={USER}&trip={TRIP}"
STRANGER = "99999999-e89b-12d3-a456-426614174009"


@pytest.fixture
async def reader(relay: RunningRelay) -> Visitor:
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
    visitor = Visitor(relay)
    visitor.sign_in()
    return visitor


async def test_access_form_alone_reads_nothing(operator: Visitor) -> None:
    page = await operator.open("/console/access")
    assert "Should" not in page.text
    assert "relay access --user ID --trip ID" in page.text
    assert not [each for each in operator.relay.postgrest.requests if each.method == "GET"]


async def test_access_of_an_active_member_is_expected(reader: Visitor) -> None:
    page = await reader.open(PATH)
    assert "Should be able to read: the membership is ACTIVE in Supabase." in page.text
    assert "Membership MEMBER, ACTIVE User exists Trip exists" in page.text
    assert f"relay access --user {USER} --trip {TRIP}" in page.text
    assert "It cannot see whether the policies" in page.text
    assert find_link(page, "/console/events/") == "/console/events/evt_member"


async def test_access_of_a_removed_member_is_explained(reader: Visitor) -> None:
    await reader.relay.send_and_wait(
        make_body("membership.deleted", at="2026-01-02T03:04:00Z"), "evt_gone"
    )
    text = (await reader.open(PATH)).text
    assert (
        "Should not be able to read: the membership is missing in Supabase, which is the desired"
        " state since 2026-01-02T03:04:00Z." in text
    )
    assert "Membership no row, since 2026-01-02 03:04:00 UTC" in text


async def test_access_of_a_stranger_is_explained(reader: Visitor) -> None:
    text = (await reader.open(f"/console/access?user={STRANGER}&trip={TRIP}")).text
    assert "the relay has received no event about it from the backend" in text
    assert "User missing Trip exists" in text


async def test_access_while_supabase_is_unavailable_shows_the_desired_state(
    reader: Visitor,
) -> None:
    reader.relay.postgrest.respond_with(503, {})
    text = (await reader.open(PATH)).text
    assert "The memberships in Supabase could not be read" in text
    assert "Membership unknown User unknown Trip unknown" in text
    assert "Membership a row, since 2026-01-02 03:00:00 UTC" in text


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("user=1&trip=2", ["/user", "/trip"]),
        (f"user={USER}", ["/trip"]),
        (f"user={USER}&trip={TRIP}&more=1", ["/more"]),
    ],
)
async def test_access_of_invalid_ids_says_which(
    operator: Visitor, query: str, fields: list[str]
) -> None:
    response = await operator.get(f"/console/access?{query}")
    assert response.status_code == 422
    assert [field for field in fields if field in Page(response.text).text] == fields
