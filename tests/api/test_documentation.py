"""`GET /`, `/openapi.json`, `/docs` and `/docs/problems`."""

from importlib.metadata import version

import httpx
import pytest

from tests.api.relay_harness import (
    JWT_SECRET,
    SUPABASE_KEY,
    WEBHOOK_SECRET,
    RelayStarter,
    RunningRelay,
    assert_problem,
    make_body,
)

PATHS = ("/", "/openapi.json", "/docs", "/docs/problems")
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_index_points_to_paths_that_respond(relay: RunningRelay) -> None:
    response = await relay.http.get("/")
    assert response.headers["content-type"] == "application/json"
    index = response.json()
    assert index.pop("version") == version("supabase-sync-relay")
    assert index.pop("name")
    assert set(index) == {"docs", "problems", "openapi", "health", "metrics"}
    for path in (*index.values(), *(link["url"] for link in response.links.values())):
        assert (await relay.http.get(path)).status_code == 200, path
    assert set(response.links) == {"service-desc", "service-doc", "status"}


async def test_index_for_a_browser_is_a_page(relay: RunningRelay) -> None:
    page = await relay.http.get("/", headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for path in (await relay.http.get("/")).json().values():
        assert not path.startswith("/") or f'href="{path}"' in page.text
    for headers in ({}, BROWSER, {"accept": "application/json"}):
        assert (await relay.http.get("/", headers=headers)).headers["vary"] == "Accept"


async def test_openapi_document_is_the_apps(relay: RunningRelay) -> None:
    response = await relay.http.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.json() == relay.app.openapi()
    assert [server["url"] for server in response.json()["servers"]] == ["/"]


@pytest.mark.parametrize("path", PATHS)
async def test_documentation_is_kept_until_it_changes(relay: RunningRelay, path: str) -> None:
    response = await relay.http.get(path)
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    tag = response.headers["etag"]
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await relay.http.get(path, headers={"if-none-match": condition})
        assert (again.status_code, again.content) == (304, b""), condition
        assert again.headers["etag"] == tag
    for condition in ('"other"', tag[:-2], ""):
        again = await relay.http.get(path, headers={"if-none-match": condition})
        assert (again.status_code, again.content) == (200, response.content), condition


@pytest.mark.parametrize("path", PATHS)
async def test_head_has_the_headers_of_get(relay: RunningRelay, path: str) -> None:
    response = await relay.http.head(path)
    assert response.status_code == 200
    assert response.headers == (await relay.http.get(path)).headers


@pytest.mark.parametrize("path", PATHS)
async def test_documentation_by_another_method_is_a_problem(relay: RunningRelay, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = await relay.http.request(method, path)
        assert_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "GET"


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/problems/", "/docs/input-invalid", "/openapi.json/", "/openapi", "//"]
)
async def test_path_near_the_documentation_is_not_found(relay: RunningRelay, path: str) -> None:
    response = await relay.http.get(f"http://relay.test{path}", headers=BROWSER)
    assert_problem(response, 404, "path-not-found")


async def read_all(http: httpx.AsyncClient) -> list[bytes]:
    responses = [await http.get(path) for path in PATHS]
    responses.append(await http.get("/", headers=BROWSER))
    return [response.content for response in responses]


async def test_documentation_needs_no_token_and_shows_neither_secrets_nor_data(
    relay: RunningRelay,
) -> None:
    await relay.send_and_wait(make_body("user.created", username="zanzibar"), "evt_zanzibar")
    shown = b"".join(await read_all(relay.http))
    for secret in (JWT_SECRET, SUPABASE_KEY, WEBHOOK_SECRET, "zanzibar", str(relay.folder)):
        assert secret.encode() not in shown


async def test_documentation_is_the_same_whatever_the_settings(starter: RelayStarter) -> None:
    async with starter.start() as relay:
        before = await read_all(relay.http)
    async with starter.start(webhook_auth="any", membership_roles="GUIDE") as relay:
        assert await read_all(relay.http) == before
