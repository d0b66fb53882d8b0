"""Logging in and out, and what ends a session."""

from typing import Any

import pytest

from app.console.session import COOKIE, TOKEN_LIMIT_BYTES
from tests.api.relay_harness import JWT_SECRET, RelayStarter, RunningRelay
from tests.console.browsing import Visitor
from tests.html_page import Page


def make_token(relay: RunningRelay, scope: str = "events:read", **claims: Any) -> str:
    return relay.bear(scope, **claims)["authorization"].split()[1]


async def log_in(visitor: Visitor, token: str, path: str = "/console/login") -> Page | None:
    """Paste a token; return the page that says why it is rejected."""
    page = await visitor.open(path)
    response = await visitor.post("/console/login", {**page.read_fields(), "token": token})
    if response.status_code == 303:
        assert response.headers["location"].startswith("/console")
        return None
    return Page(response.text)


async def test_log_in_with_a_token_opens_the_console(visitor: Visitor) -> None:
    assert await log_in(visitor, make_token(visitor.relay)) is None
    page = await visitor.open("/console")
    assert "ops@nomadcrew.test, read-only" in page.text


async def test_log_in_accepts_a_pasted_header(visitor: Visitor) -> None:
    assert await log_in(visitor, f" Bearer {make_token(visitor.relay)}\n") is None


async def test_cookie_of_a_session_is_bounded_and_only_for_the_console_of_this_host(
    visitor: Visitor,
) -> None:
    page = await visitor.open("/console/login")
    form = {**page.read_fields(), "token": make_token(visitor.relay)}
    response = await visitor.post("/console/login", form)
    (cookie,) = response.headers.get_list("set-cookie")
    pair, *attributes = cookie.split("; ")
    assert pair == f"{COOKIE}={form['token']}"
    assert {each.lower() for each in attributes} == {
        "max-age=60",
        "path=/",
        "secure",
        "httponly",
        "samesite=strict",
    }


async def test_page_without_a_session_leads_to_the_log_in_and_back(visitor: Visitor) -> None:
    response = await visitor.get("/console?x=%22%3E")
    assert response.status_code == 303
    page = await visitor.open(response.headers["location"])
    form = {**page.read_fields(), "token": make_token(visitor.relay)}
    assert form["next"] == "/console?x=%22%3E"
    response = await visitor.post("/console/login", form)
    assert response.headers["location"] == "/console?x=%22%3E"


@pytest.mark.parametrize(
    "place",
    ["//evil.test", "https://evil.test/console", "/consolex", "/console/\\evil", "", "/console/\n"],
)
async def test_log_in_never_leads_to_another_site(visitor: Visitor, place: str) -> None:
    page = await visitor.open("/console/login")
    form = {**page.read_fields(), "token": make_token(visitor.relay), "next": place}
    response = await visitor.post("/console/login", form)
    assert response.headers["location"] == "/console"


async def test_token_is_in_no_page(visitor: Visitor) -> None:
    token = make_token(visitor.relay)
    page = await log_in(visitor, token + "x")
    assert page is not None
    assert token[-20:] not in page.html
    assert await log_in(visitor, token) is None
    assert token[-20:] not in (await visitor.open("/console")).html


async def test_log_in_with_an_invalid_token_says_what_may_be_wrong(visitor: Visitor) -> None:
    page = await log_in(visitor, make_token(visitor.relay, key=("HS256", JWT_SECRET + "x")))
    assert page is not None
    assert "it has expired, or was signed with another key" in page.text
    assert COOKIE not in visitor.cookies


async def test_log_in_without_the_scope_names_it(visitor: Visitor) -> None:
    page = await log_in(visitor, make_token(visitor.relay, "replay:write"))
    assert page is not None
    assert "lacks the scope events:read" in page.text
    assert COOKIE not in visitor.cookies


async def test_log_in_with_a_token_that_no_cookie_holds_is_refused(visitor: Visitor) -> None:
    token = make_token(visitor.relay, padding="x" * TOKEN_LIMIT_BYTES)
    page = await log_in(visitor, token)
    assert page is not None
    assert "which no cookie can hold" in page.text


async def test_session_ends_with_its_token(operator: Visitor) -> None:
    await operator.open("/console")
    operator.relay.clock.advance(91)  # the leeway for clocks included
    assert (await operator.get("/console")).status_code == 303


@pytest.mark.parametrize("header", [("hx-request", "true"), ("accept", "text/event-stream")])
async def test_script_without_a_session_is_led_to_the_log_in(
    visitor: Visitor, header: tuple[str, str]
) -> None:
    response = await visitor.get("/console", dict([header]))
    assert (response.status_code, response.headers["hx-redirect"]) == (401, "/console/login")


async def test_link_from_another_site_reaches_the_session(operator: Visitor) -> None:
    """Browsers send no cookie with SameSite=Strict along a link from elsewhere."""
    session, operator.cookies = operator.cookies, {}
    response = await operator.get("/console", {"sec-fetch-site": "cross-site"})
    assert response.status_code == 200
    contents = [*Page(response.text).list_values("content", tag="meta")]
    assert "0; url=/console" in contents
    operator.cookies = session
    await operator.open("/console")


async def test_log_out_deletes_the_cookie(operator: Visitor) -> None:
    page = await operator.open("/console")
    response = await operator.post("/console/logout", page.read_fields())
    assert (response.status_code, response.headers["location"]) == (303, "/console/login")
    assert COOKIE not in operator.cookies


async def test_console_without_a_key_for_tokens_is_off(starter: RelayStarter) -> None:
    async with starter.start(jwt_secret=None) as relay:
        for path in ("/console", "/console/login", "/console/anything"):
            response = await Visitor(relay).get(path)
            assert response.status_code == 403
            assert "JWT_SECRET" in response.text
