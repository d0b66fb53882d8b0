"""Pages while something fails: each is a page, in bounded time."""

import asyncio
import threading

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import Connection

from app.console.now import read_overview
from app.console.page_route import ConsoleRoute
from tests.api.relay_harness import HISTORY, RelayStarter
from tests.console.browsing import Visitor
from tests.html_page import Page


class HastyRoute(ConsoleRoute):
    """A route that gives up at once."""

    limit_seconds = 0.01


def add_page_that_hangs(app: FastAPI) -> None:
    router = APIRouter(route_class=HastyRoute)

    @router.api_route("/hanging", methods=["GET", "POST"])
    async def hang() -> None:
        await asyncio.Event().wait()

    app.include_router(router)


async def test_unexpected_error_is_a_page_that_keeps_the_navigation_and_hides_the_cause(
    operator: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    await operator.relay.send_and_wait(HISTORY["evt_user"], "evt_user")
    operator.relay.query("UPDATE events SET type = 'user.unheard-of'")
    response = await operator.get("/console/events")
    assert response.status_code == 500
    page = Page(response.text)
    assert "Internal error, which the relay's log describes." in page.text
    assert "/console/revocations" in page.list_values("href", tag="a")
    assert "unheard-of" not in page.html
    assert "/console/events failed" in caplog.text
    assert "unheard-of" in caplog.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_page_that_hangs_ends_in_time(visitor: Visitor, method: str) -> None:
    add_page_that_hangs(visitor.relay.app)
    ask = visitor.get("/hanging") if method == "GET" else visitor.post("/hanging", {})
    response = await ask
    assert response.status_code == 503
    text = Page(response.text).text
    assert "could not make this page within 10 ms" in text
    assert ("Before you send the form again" in text) == (method == "POST")


async def test_now_shows_the_health_while_queries_of_operators_hang(operator: Visitor) -> None:
    services = operator.relay.app.state.services
    end = threading.Event()

    def hang(_: Connection) -> None:
        end.wait()

    hanging = [asyncio.ensure_future(services.store.search(hang)) for _ in range(2)]
    try:
        overview = await read_overview(services, limit_seconds=0.01)
    finally:
        end.set()
        await asyncio.gather(*hanging)
    assert overview.status is None
    assert overview.health.checks.store.status == "ok"


async def test_page_of_an_error_has_its_style_without_any_key_of_operators(
    starter: RelayStarter,
) -> None:
    async with starter.start(jwt_secret=None) as relay:
        visitor = Visitor(relay)
        response = await visitor.get("/console")
        assert response.status_code == 403
        links = Page(response.text).list_values("href", tag="link")
        paths = [each for each in links if "css" in each]
        assert [(await visitor.get(path)).status_code for path in paths] == [200]
