"""The console behind the proxies of docs/guides/deploy.md: it is live, and forms are accepted."""

import re
import ssl
import time
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from app.auth.tokens import mint_token
from tests.e2e.conftest import JWT_SECRET
from tests.proxies.programs import Proxy

PATIENCE_SECONDS: Final = 60


@pytest.fixture
def browser(guide_proxy: Proxy) -> Iterator[httpx.Client]:
    assert guide_proxy.certificate is not None
    context = ssl.create_default_context(cafile=str(guide_proxy.certificate))
    with httpx.Client(
        base_url=guide_proxy.url, verify=context, trust_env=False, timeout=PATIENCE_SECONDS
    ) as client:
        yield client


def log_in(browser: httpx.Client) -> None:
    """Log in as browsers do."""
    page = browser.get("/console/login")
    (csrf_token,) = re.findall(r'name="csrf" value="(\w+)"', page.text)
    claims = {"exp": int(time.time()) + 600, "scope": "events:read"}
    form = {"csrf": csrf_token, "token": mint_token(claims, secret=JWT_SECRET), "next": "/console"}
    origin = {"origin": str(browser.base_url), "sec-fetch-site": "same-origin"}
    response = browser.post("/console/login", data=form, headers=origin)
    assert response.status_code == 303, response.text


def test_events_of_the_stream_arrive_at_once(browser: httpx.Client) -> None:
    log_in(browser)
    assert browser.get("/console").status_code == 200
    with browser.stream("GET", "/console/now/stream") as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = response.iter_lines()
        assert next(lines).startswith("data: <section")
        assert any(line == "" for line in lines)  # the whole event, while the stream goes on
