"""Every page: its policy, its form without JavaScript, and its errors."""

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from app.console import assets, pages
from app.console.pages import NAVIGATION, prepare_templates
from tests.api.relay_harness import HISTORY, refuse_rows
from tests.console.browsing import Visitor
from tests.html_page import Page
from tests.supabase.test_migration_files import build_wheel

CHECKOUT: Final = Path(__file__).parents[2]
CONSOLE: Final = Path(assets.__file__).parent
POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
PATHS: Final = ("/console/login", "/console/nothing", *(path for _, path, _ in NAVIGATION))
# Of dist/ in the npm packages that VENDORED.md names.
VENDORED: Final = {
    "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
    "htmx-sse.min.js": "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136",
}


@pytest.mark.parametrize("path", PATHS)
async def test_page_is_under_a_strict_policy(operator: Visitor, path: str) -> None:
    headers = (await operator.get(path)).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy == POLICY
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("path", PATHS)
async def test_page_has_nothing_inline_and_loads_from_the_relay_only(
    operator: Visitor, path: str
) -> None:
    page = Page((await operator.get(path)).text)
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style", page.html)
    for tag, given in page.elements:
        assert not any(name == "style" or name.startswith("on") for name in given), (tag, given)
        for name in ("src", "href", "action", "sse-connect", "hx-get", "hx-post"):
            assert given.get(name, "/").startswith(("/", "#", "data:,")), (tag, given)
            assert not given.get(name, "/").startswith("//")


@pytest.mark.parametrize("path", PATHS)
async def test_page_has_a_title_a_language_one_heading_and_ids_of_their_own(
    operator: Visitor, path: str
) -> None:
    page = Page((await operator.get(path)).text)
    assert ("html", {"lang": "en"}) in page.elements
    assert re.search(r"<title>[^<]+ \S relay console</title>", page.html)
    assert sum(tag == "h1" for tag, _ in page.elements) == 1
    counts = Counter(given["id"] for _, given in page.elements if "id" in given)
    assert [name for name, count in counts.items() if count > 1] == []


async def test_current_view_is_marked(operator: Visitor) -> None:
    for _, path, _ in NAVIGATION:
        page = await operator.open(path)
        current = [given["href"] for _, given in page.elements if "aria-current" in given]
        assert current == [path]


async def test_static_files_of_a_page_are_kept_for_their_content(operator: Visitor) -> None:
    page = await operator.open("/console")
    paths = [
        *page.list_values("src", tag="script"),
        *(path for path in page.list_values("href", tag="link") if path != "data:,"),
    ]
    assert len(paths) == 4
    for path in paths:
        response = await operator.get(path)
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(response.content).hexdigest().startswith(path.split("/")[3])
        assert response.headers["x-content-type-options"] == "nosniff"
        old = await operator.get(path.replace(path.split("/")[3], "0" * 16))
        assert (old.content, old.headers["cache-control"]) == (response.content, "no-store")


@pytest.mark.parametrize("name", ["nothing.js", "VENDORED.md", "..%2Fnow.py", "%2E%2E"])
async def test_other_files_are_not_served(operator: Visitor, name: str) -> None:
    assert (await operator.get(f"/console/static/0/{name}")).status_code == 404


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_file_is_unchanged(name: str) -> None:
    content = (CONSOLE / "static" / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == VENDORED[name]
    assert name in (CONSOLE / "static" / "VENDORED.md").read_text()


def test_wheel_holds_the_templates_and_the_static_files(tmp_path: Path) -> None:
    shipped = build_wheel(CHECKOUT, tmp_path) / "app" / "console"
    for folder in ("templates", "static"):
        assert {path.name: path.read_bytes() for path in (shipped / folder).iterdir()} == {
            path.name: path.read_bytes() for path in (CONSOLE / folder).iterdir()
        }


async def test_templates_are_compiled_before_the_event_loop_needs_them() -> None:
    pages._load_templates.cache_clear()
    await prepare_templates()
    environment = pages._load_templates()
    assert environment.cache is not None
    compiled = {name for _, name in environment.cache}
    assert compiled == {path.name for path in (CONSOLE / "templates").iterdir()}


async def test_unknown_page_is_a_page(operator: Visitor) -> None:
    response = await operator.get("/console/nothing")
    assert response.status_code == 404
    assert "The console has no such page." in Page(response.text).text


async def test_error_after_the_log_in_keeps_the_navigation(operator: Visitor) -> None:
    response = await operator.get("/console/events/evt_unknown")
    assert response.status_code == 404
    page = Page(response.text)
    assert {path for _, path, _ in NAVIGATION} <= set(page.list_values("href", tag="a"))


async def test_slash_at_the_end_leads_to_the_console(visitor: Visitor) -> None:
    response = await visitor.get("/console/")
    assert (response.status_code, response.headers["location"]) == (307, "/console")


async def test_now_shows_the_status(operator: Visitor) -> None:
    relay = operator.relay
    for event_id, body in HISTORY.items():
        await relay.send_and_wait(body, event_id)
    page = await operator.open("/console")
    assert "0 pending, 0 dead" in page.text
    assert "last hour: none" in page.text
    assert "/console/events/evt_trip_again" in page.list_values("href", tag="a")
    moments = [*page.list_values("datetime", tag="time")]
    assert "2026-01-02T03:04:05.000Z" in moments


async def test_now_shows_why_entities_are_dead(operator: Visitor) -> None:
    refuse_rows(operator.relay.postgrest)
    assert await operator.relay.send_and_wait(HISTORY["evt_user"]) == "dead"
    page = await operator.open("/console")
    assert "Dead by cause" in page.text
    assert '23514 new row violates check constraint "c"' in page.text


async def test_now_shows_the_reason_of_an_outage(operator: Visitor) -> None:
    relay = operator.relay
    relay.postgrest.respond_with(503, headers={"retry-after": "60"})
    await relay.send(HISTORY["evt_user"])
    await relay.watch_health(
        lambda health: "HTTP 503" in (health["checks"]["supabase"]["reason"] or "")
    )
    text = (await operator.open("/console")).text
    assert "Degraded" in text
    assert "unreachable or failing: HTTP 503" in text
    assert "next probe in" in text


async def test_now_shows_no_personal_data(operator: Visitor) -> None:
    for event_id, body in HISTORY.items():
        await operator.relay.send_and_wait(body, event_id)
    html = (await operator.open("/console")).html
    for value in ("ada@example.com", ">ada<", "Lisbon", "Porto"):
        assert value not in html


async def test_now_of_a_store_that_cannot_be_read_shows_the_health(operator: Visitor) -> None:
    operator.relay.query("ALTER TABLE entities RENAME TO hidden")
    text = (await operator.open("/console")).text
    assert "the store cannot be read" in text
    assert "Down" in text


async def test_event_id_is_escaped(operator: Visitor) -> None:
    event_id = 'evt_"><script>alert(1)</script>?#/..'
    await operator.relay.send_and_wait(HISTORY["evt_user"], event_id)
    page = await operator.open("/console")
    assert "<script>alert" not in page.html
    (path,) = (each for each in page.list_values("href", tag="a") if "/events/" in each)
    assert path == "/console/events/evt_%22%3E%3Cscript%3Ealert%281%29%3C/script%3E%3F%23/.."
