"""Fixtures: a headless Chromium, and a relay to look at with it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest

from tests.api.relay_harness import (
    HISTORY,
    Body,
    RelayStarter,
    RunningRelay,
    make_body,
    refuse_rows,
)
from tests.server.served import Served, serve

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_MILLISECONDS: Final = 60_000


OpenPage = Callable[..., "Page"]


class Relay:
    """A served relay, and who sends it webhooks."""

    def __init__(self, served: Served) -> None:
        starter = served.starter
        self.url = f"http://127.0.0.1:{served.port}"
        self.clock = starter.clock
        self.postgrest = starter.postgrest
        self.stop = served.stop
        self._http = httpx.Client(base_url=self.url, trust_env=False, timeout=60)
        self._signer = RunningRelay(
            served.app, httpx.AsyncClient(), starter.clock, starter.postgrest, starter.folder
        )

    def send(self, body: Body, event_id: str, *, wait: bool = True) -> None:
        content = json.dumps(body).encode()
        headers = self._signer.sign(event_id, content) | ({"prefer": "wait=10"} if wait else {})
        response = self._http.post("/webhooks", content=content, headers=headers)
        assert response.is_success, response.text

    def make_token(self, scope: str = "events:read", **claims: Any) -> str:
        return self._signer.bear(scope, **claims)["authorization"].split()[1]

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def relay_in_trouble(starter: RelayStarter) -> Iterator[Relay]:
    """A relay that shows much: events of each status, and Supabase is unavailable."""
    with serve(starter) as served:
        relay = Relay(served)
        for event_id, body in HISTORY.items():
            relay.send(body, event_id)
        refuse_rows(relay.postgrest, of="users")
        for number in range(2):
            user_id = f"00000000-0000-4000-8000-00000000000{number}"
            relay.send(make_body("user.created", id=user_id), f"evt_dead_{number}")
        relay.send(make_body("membership.deleted", at="2026-01-02T03:04:00Z"), "evt_revocation")
        relay.postgrest.respond_with(503, headers={"retry-after": "60"})
        late = make_body("trip.updated", at="2026-01-02T03:04:01Z", name="Faro")
        relay.send(late, "evt_" + "x" * 200, wait=False)
        yield relay
        relay.close()


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """Run a browser for a file of tests; meanwhile, playwright's loop keeps others from running."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    # Its sandbox refuses root.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


def open_console(
    browser: "Browser",
    relay: Relay,
    contexts: "list[BrowserContext]",
    *,
    scope: str = "events:read",
    **options: Any,
) -> "Page":
    """Log in as an operator, with options of `Browser.new_context`."""
    context = browser.new_context(base_url=relay.url, **options)
    contexts.append(context)
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    page.goto("/console/login")
    page.get_by_label("Operator's token").fill(relay.make_token(scope))
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/console")
    return page


@pytest.fixture
def open_page(chromium: "Browser", relay_in_trouble: Relay) -> "Iterator[OpenPage]":
    """Open the console in an operator's browser, with options of `Browser.new_context`."""
    contexts: list[BrowserContext] = []
    yield partial(open_console, chromium, relay_in_trouble, contexts)
    for context in contexts:
        context.close()
