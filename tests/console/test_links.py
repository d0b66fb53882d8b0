"""One-time links: `POST /console/links`, and the pages that open them."""

import logging
from typing import Any

import pytest

from app.console.session import COOKIE, TOKEN_LIMIT_BYTES
from tests.api.relay_harness import Body, RunningRelay, assert_problem
from tests.console.browsing import Visitor
from tests.html_page import Page


async def create_link(relay: RunningRelay, scope: str = "events:read", **claims: Any) -> Body:
    response = await relay.http.post("/console/links", headers=relay.bear(scope, **claims))
    assert response.status_code == 201, response.text
    assert response.headers["cache-control"] == "no-store"
    body: Body = response.json()
    return body


async def open_link(visitor: Visitor, path: str) -> Page | None:
    """Open a link; return the page that says why it does not work."""
    page = await visitor.open(path)
    response = await visitor.post("/console/login/link", page.read_fields())
    if response.status_code == 303:
        assert response.headers["location"] == "/console"
        return None
    return Page(response.text)


async def test_link_opens_the_console_with_the_scopes_of_its_token(visitor: Visitor) -> None:
    link = await create_link(visitor.relay, "events:read replay:write")
    assert link["expires_at"] == "2026-01-02T03:05:05Z"
    assert await open_link(visitor, link["path"]) is None
    assert "read-only" not in (await visitor.open("/console")).text


async def test_link_works_once(visitor: Visitor) -> None:
    link = await create_link(visitor.relay)
    assert await open_link(visitor, link["path"]) is None
    visitor.cookies = {}
    page = await open_link(visitor, link["path"])
    assert page is not None
    assert "has expired or was opened before" in page.text
    assert COOKIE not in visitor.cookies


async def test_preview_of_a_link_does_not_use_it_up(visitor: Visitor) -> None:
    link = await create_link(visitor.relay)
    for _ in range(3):
        await Visitor(visitor.relay).open(link["path"])
    assert await open_link(visitor, link["path"]) is None


async def test_link_expires_after_a_minute(visitor: Visitor) -> None:
    link = await create_link(visitor.relay, exp=int(visitor.relay.clock()) + 3600)
    visitor.relay.clock.advance(60)
    page = await open_link(visitor, link["path"])
    assert page is not None
    assert "has expired" in page.text


async def test_session_of_a_link_ends_with_its_token(visitor: Visitor) -> None:
    link = await create_link(visitor.relay, exp=int(visitor.relay.clock()) + 10)
    assert await open_link(visitor, link["path"]) is None
    visitor.relay.clock.advance(41)
    assert (await visitor.get("/console")).status_code == 303


async def test_unknown_code_opens_nothing(visitor: Visitor) -> None:
    for code in ("x", "%F0%9F%98%80", "x" * 3000):
        page = await open_link(visitor, f"/console/links/{code}")
        assert page is not None
        assert "has expired" in page.text


async def test_link_with_a_token_that_no_cookie_holds_says_so(visitor: Visitor) -> None:
    link = await create_link(visitor.relay, padding="x" * TOKEN_LIMIT_BYTES)
    page = await open_link(visitor, link["path"])
    assert page is not None
    assert "which no cookie can hold" in page.text


async def test_link_needs_a_token_with_the_scope(relay: RunningRelay) -> None:
    assert_problem(await relay.http.post("/console/links"), 401, "unauthenticated")
    response = await relay.http.post("/console/links", headers=relay.bear("replay:write"))
    assert_problem(response, 403, "scope-missing")


async def test_store_and_log_hold_neither_code_nor_token(
    visitor: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = visitor.relay.bear("events:read")["authorization"].split()[1]
    link = await create_link(visitor.relay)
    code = link["path"].rpartition("/")[2]
    page = await visitor.open(link["path"])
    await visitor.post("/console/login/link", page.read_fields(), {"sec-fetch-site": "cross-site"})
    await visitor.post(link["path"], page.read_fields(), {})
    stored = visitor.relay.read_files()
    for secret in (code, token):
        assert secret.encode() not in stored
        assert all(
            secret not in record.getMessage()
            for record in caplog.records
            if record.name.startswith("app")
        )
    assert await open_link(visitor, link["path"]) is None
