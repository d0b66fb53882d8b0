"""Logging in, watching the view Now, and the end of a session, in a browser."""

import re

import pytest

from tests.api.relay_harness import make_body
from tests.console.browser.conftest import PATIENCE_MILLISECONDS, OpenPage, Relay

expect = pytest.importorskip(
    "playwright.sync_api", reason="playwright has no wheel for this machine"
).expect
expect.set_options(timeout=PATIENCE_MILLISECONDS)


def test_operator_logs_in_by_keyboard_and_out(open_page: OpenPage, relay_in_trouble: Relay) -> None:
    page = open_page()
    page.context.clear_cookies()
    page.goto("/console/login")
    # A loaded page is given the focus with its next frame.
    expect(page.get_by_label("Operator's token")).to_be_focused()
    page.keyboard.type(relay_in_trouble.make_token("events:read replay:write"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/console")
    (cookie,) = (each for each in page.context.cookies() if each["name"].endswith("console"))
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (True, True, "Strict")
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/console/login")
    page.goto("/console")
    assert page.url.endswith("/console/login")


def test_rejected_token_is_explained(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/console/login")
    page.get_by_label("Operator's token").fill("not a token")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("does not accept this token")


def test_now_shows_an_event_when_it_arrives_and_keeps_the_focus(
    open_page: OpenPage, relay_in_trouble: Relay
) -> None:
    page = open_page()
    page.goto("/console")
    expect(page.locator("#live")).to_have_text("Live")
    page.locator("#event-1").focus()
    body = make_body("trip.updated", at="2026-01-02T03:04:02Z", name="Braga")
    relay_in_trouble.send(body, "evt_new", wait=False)
    expect(page.get_by_role("link", name="evt_new")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "event-1"


def test_end_of_the_session_leads_to_the_log_in(
    open_page: OpenPage, relay_in_trouble: Relay
) -> None:
    page = open_page()
    page.goto("/console")
    expect(page.locator("#live")).to_have_text("Live")
    relay_in_trouble.clock.advance(91)
    page.wait_for_url("**/console/login")


def test_stop_of_the_relay_is_shown(open_page: OpenPage, relay_in_trouble: Relay) -> None:
    page = open_page()
    page.goto("/console")
    expect(page.locator("#live")).to_have_text("Live")
    relay_in_trouble.stop()
    expect(page.locator("#live")).to_have_text(re.compile("Not live"))
