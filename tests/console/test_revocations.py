"""The view Revocations, read without JavaScript."""

import pytest

from tests.api.relay_harness import HISTORY, TRIP, USER, RunningRelay, make_body
from tests.console.browsing import Visitor
from tests.fake_postgrest import is_write
from tests.html_page import Page

REMOVED = make_body("membership.deleted", at="2026-01-02T03:04:00Z")


@pytest.fixture
async def reader(relay: RunningRelay) -> Visitor:
    """A reader of a relay with a member, at 03:04:05."""
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
    visitor = Visitor(relay)
    visitor.sign_in(exp=int(relay.clock()) + 1_000_000)
    return visitor


def read_bars(page: Page) -> list[str]:
    return list(page.list_values("width", tag="rect"))


async def test_revocations_show_percentiles_a_histogram_and_the_longest(reader: Visitor) -> None:
    await reader.relay.send_and_wait(REMOVED, "evt_removed")
    page = await reader.open("/console/revocations?period=hour")
    assert "p50 5.0 s p95 5.0 s p99 5.0 s Maximum 5.0 s" in page.text
    assert "≤ 5.0 s 1" in page.text
    assert read_bars(page) == ["100.0"]
    assert USER in page.text
    assert TRIP in page.text
    assert f"/console/events?entity=membership%2F{TRIP}%2F{USER}" in page.html
    assert "not yet" not in page.text
    assert "style=" not in page.html


async def test_revocation_that_is_not_in_force_is_pointed_out(reader: Visitor) -> None:
    reader.relay.postgrest.hang(of=is_write)
    await reader.relay.send(REMOVED, "evt_removed")
    reader.relay.clock.advance(120)
    text = (await reader.open("/console/revocations")).text
    assert "1 revocation is not in force in Supabase: the access remains." in text
    assert "not yet" in text
    assert "Maximum 2 min" in text


async def test_revocations_of_another_period_are_left_out(reader: Visitor) -> None:
    await reader.relay.send_and_wait(REMOVED, "evt_removed")
    reader.relay.clock.advance(2 * 86_400)
    for period, is_found in (("hour", False), ("day", False), ("week", True)):
        text = (await reader.open(f"/console/revocations?period={period}")).text
        assert (f"No revocation in the last {period}." in text) == (not is_found)


async def test_revocations_of_an_unknown_period_are_refused(operator: Visitor) -> None:
    response = await operator.get("/console/revocations?period=year")
    assert response.status_code == 422
    assert "period" in Page(response.text).text
