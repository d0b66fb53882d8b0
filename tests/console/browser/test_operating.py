"""What an operator does in a browser: look at one thing, replay, check and repair."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import pytest

from tests.api.relay_harness import TRIP, USER, RelayStarter, make_body, refuse_rows
from tests.console.browser.conftest import OpenPage, Relay, open_console
from tests.server.served import serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="playwright has no wheel for this machine"
)

SCOPE: Final = "events:read replay:write"
PHONE: Final[Any] = {"width": 360, "height": 740}
PATHS: Final = (
    "/console/events/evt_dead_0",
    "/console/events/evt_member",
    "/console/events/evt_" + "x" * 200,
    f"/console/events?entity=membership/{TRIP}/{USER}&since=2026-01-01T00:00",
    "/console/replays/new?status=dead",
    "/console/revocations?period=hour",
    f"/console/access?user={USER}&trip={TRIP}",
    "/console/events?since=yesterday",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_one_thing_are_accessible_and_fit_a_phone(
    open_page: OpenPage, scheme: str
) -> None:
    page = open_page(scope=SCOPE, color_scheme=scheme, viewport=PHONE)
    for path in PATHS:
        page.goto(path)
        check(page, path)


def check(page: "Page", path: str) -> None:
    results = axe.Axe().run(page)
    assert results.violations_count == 0, f"{path}: {results.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path


@pytest.fixture
def relay_with_dead(starter: RelayStarter) -> Iterator[Relay]:
    """A relay with two dead users, whose cause is fixed."""
    with serve(starter) as served:
        relay = Relay(served)
        refuse_rows(relay.postgrest)
        for number in range(2):
            user_id = f"00000000-0000-4000-8000-00000000000{number}"
            relay.send(make_body("user.created", id=user_id), f"evt_dead_{number}")
        relay.postgrest.heal()
        yield relay
        relay.close()


def test_dead_group_is_replayed_and_its_progress_is_live(
    chromium: "Browser", relay_with_dead: Relay
) -> None:
    relay_with_dead.postgrest.respond_with(503)
    contexts: list[BrowserContext] = []
    page = open_console(chromium, relay_with_dead, contexts, scope=SCOPE, viewport=PHONE)
    page.goto("/console/dead")
    page.get_by_role("link", name=re.compile("Replay… 23514")).click()
    page.get_by_role("button", name="Replay").click()
    page.get_by_text("0 of 2 entities settled.").wait_for()
    check(page, page.url)
    loads: list[str] = []
    page.on("load", lambda _: loads.append(page.url))
    relay_with_dead.postgrest.heal()
    relay_with_dead.clock.advance(10)  # past the next probe
    page.get_by_text("2 entities applied").wait_for()
    assert page.locator("[hx-trigger]").count() == 0
    check(page, page.url)
    assert loads == []
    contexts[0].close()


def test_check_is_requested_and_its_plan_repaired(
    chromium: "Browser", relay_with_dead: Relay
) -> None:
    relay_with_dead.postgrest.tables["trip_memberships"][TRIP, USER] = {
        "trip_id": TRIP,
        "user_id": USER,
        "role": "OWNER",
        "status": "ACTIVE",
    }
    contexts: list[BrowserContext] = []
    page = open_console(chromium, relay_with_dead, contexts, scope=SCOPE, viewport=PHONE)
    page.goto("/console/drift")
    page.get_by_role("button", name="Check now").click()
    page.get_by_role("link", name="Repair this plan…").click()
    check(page, page.url)
    page.get_by_role("button", name="Repair").click()
    page.get_by_text("queued for repair").wait_for()
    check(page, page.url)
    contexts[0].close()


def test_events_are_filtered_by_the_form(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/console/events")
    page.get_by_label("Status").select_option("dead")
    page.get_by_text("More filters").click()
    page.get_by_label("Error code").fill("23514")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/console/events?*")
    assert urlencode({"status": "dead"}) in page.url
    assert page.locator("tbody tr").count() == 2
    assert page.get_by_label("Error code").is_visible()
