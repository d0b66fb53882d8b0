"""Every view in a browser: accessible, on any screen, and within its policy."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

from app.console.pages import NAVIGATION
from tests.console.browser.conftest import OpenPage, Relay

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page, Request

axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="playwright has no wheel for this machine"
)

PATHS: Final = ("/console/login", "/console/nothing", *(path for _, path, _ in NAVIGATION))
PHONE: Final[Any] = {"width": 360, "height": 740}


def check_each(page: "Page", check: Callable[[str], None]) -> None:
    """Check each page; one browser and one relay for all, as both take long to start."""
    for path in PATHS:
        page.goto(path)
        check(path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_views_are_accessible(open_page: OpenPage, scheme: str) -> None:
    page = open_page(color_scheme=scheme)

    def check(path: str) -> None:
        results = axe.Axe().run(page)
        assert results.violations_count == 0, f"{path}: {results.generate_report()}"

    check_each(page, check)


def test_views_fit_a_phone(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE)

    def check(path: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"], path

    check_each(page, check)


def test_views_load_from_the_relay_only_and_break_no_policy(
    open_page: OpenPage, relay_in_trouble: Relay
) -> None:
    page = open_page()
    loaded: list[str] = []
    complaints: list[str] = []

    def note_request(request: "Request") -> None:
        loaded.append(request.url)

    def note_message(message: "ConsoleMessage") -> None:
        if "404 (Not Found)" not in message.text:
            complaints.append(message.text)

    page.on("request", note_request)
    page.on("console", note_message)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    check_each(page, lambda _: None)
    assert complaints == []
    assert all(url.startswith((relay_in_trouble.url, "data:")) for url in loaded)


def test_keyboard_reaches_the_content_first_and_every_link(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/console")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    links = page.locator("main a").evaluate_all("all => all.map(a => a.id)")
    assert links
    reached: list[str] = []
    while reached[-1:] != links[-1:]:
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        reached.append(page.evaluate("document.activeElement.id"))
    assert set(links) <= set(reached)


def test_views_can_be_read_without_javascript(open_page: OpenPage) -> None:
    page = open_page(java_script_enabled=False)
    page.goto("/console")
    assert page.get_by_role("heading", name="Degraded").is_visible()
    assert page.get_by_text("As of 2026-01-02 03:04:05 UTC").is_visible()
    for _, path, title in NAVIGATION:
        page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        assert page.url.endswith(path)
