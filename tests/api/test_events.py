"""`GET /events/{event_id}`."""

import json
import re
from urllib.parse import quote

import httpx
import pytest

from tests.api.relay_harness import (
    TRIP,
    USER,
    RelayStarter,
    RunningRelay,
    assert_problem,
    make_body,
)
from tests.fake_postgrest import is_write

CREATED = make_body("membership.created", at="2026-01-02T04:00:00.123456789+01:00")


async def test_event_applied_is_shown_with_its_entity(relay: RunningRelay) -> None:
    await relay.send_and_wait(CREATED)
    relay.clock.advance(60)
    response = await relay.look_up("evt_1")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "event_id": "evt_1",
        "type": "membership.created",
        "status": "applied",
        "timestamp": "2026-01-02T03:00:00.123456Z",
        "received_at": "2026-01-02T03:04:05Z",
        "request_id": None,
        "trace_id": None,
        "entity": {
            "kind": "membership",
            "key": f"{TRIP}/{USER}",
            "state": "applied",
            "is_removed": False,
            "desired_version_at": "2026-01-02T03:00:00.123456Z",
            "applied_version_at": "2026-01-02T03:00:00.123456Z",
            "applied_at": "2026-01-02T03:04:05Z",
            "pending_since": None,
            "attempts": 0,
            "next_attempt_at": None,
            "last_error_code": None,
            "last_error": None,
        },
    }


async def test_event_pending_shows_its_next_attempt(relay: RunningRelay) -> None:
    relay.postgrest.hang(of=is_write)
    await relay.send(CREATED)
    body = (await relay.look_up("evt_1")).json()
    assert (body["status"], body["entity"]["state"]) == ("pending", "pending")
    assert body["entity"]["next_attempt_at"] == "2026-01-02T03:04:05Z"
    assert body["entity"]["pending_since"] == "2026-01-02T03:04:05Z"
    assert body["entity"]["applied_at"] is None
    assert body["entity"]["applied_version_at"] is None


async def test_event_during_an_outage_promises_no_attempt_before_the_next_probe(
    relay: RunningRelay,
) -> None:
    relay.postgrest.respond_with(503, headers={"retry-after": "60"})
    await relay.send(CREATED)
    await relay.watch_health(
        lambda health: "HTTP 503" in (health["checks"]["supabase"]["reason"] or "")
    )
    single = (await relay.look_up("evt_1")).json()
    listed = (await relay.http.get("/events", headers=relay.bear("events:read"))).json()
    assert listed["events"] == [single]
    assert single["entity"]["attempts"] == 0
    # Never earlier than Supabase asked for; up to a tenth later.
    assert "2026-01-02T03:05:05" <= single["entity"]["next_attempt_at"] < "2026-01-02T03:05:11"


async def test_event_with_failed_attempts_shows_the_error_and_their_number(
    relay: RunningRelay,
) -> None:
    sentence = 'duplicate key value violates unique constraint "users_email_key"'
    error = {"code": "23505", "message": sentence, "details": "Key (email)=(ada@example.com)"}
    relay.postgrest.respond_with(409, error, of=is_write)
    await relay.send(make_body("user.created"))
    await relay.watch_health(lambda _: relay.query("SELECT attempts FROM entities") == [(1,)])
    response = await relay.look_up("evt_1")
    entity = response.json()["entity"]
    assert (response.json()["status"], entity["attempts"]) == ("pending", 1)
    assert (entity["last_error_code"], entity["last_error"]) == ("23505", sentence)
    assert entity["next_attempt_at"].startswith("2026-01-02T03:04:05")
    assert "ada@example.com" not in response.text


async def test_event_superseded_shows_where_its_entity_stands(relay: RunningRelay) -> None:
    await relay.send_and_wait(CREATED, "evt_1")
    await relay.send_and_wait(make_body("membership.deleted", at="2026-01-02T03:00:02Z"), "evt_2")
    body = (await relay.look_up("evt_1")).json()
    assert (body["status"], body["entity"]["state"]) == ("superseded", "applied")
    assert body["entity"]["desired_version_at"] == "2026-01-02T03:00:02Z"
    assert body["entity"]["is_removed"] is True
    assert (await relay.look_up("evt_2")).json()["status"] == "applied"


async def test_event_dead_shows_its_error(relay: RunningRelay) -> None:
    sentence = 'new row for relation "users" violates check constraint "users_email_check"'
    relay.postgrest.fail_row(lambda *_: True, "23514", sentence)
    assert await relay.send_and_wait(make_body("user.created")) == "dead"
    body = (await relay.look_up("evt_1")).json()
    assert (body["status"], body["entity"]["state"]) == ("dead", "dead")
    assert body["entity"]["attempts"] == 1
    assert body["entity"]["next_attempt_at"] is None
    assert (body["entity"]["last_error_code"], body["entity"]["last_error"]) == ("23514", sentence)


async def test_event_of_a_person_shows_the_id_only(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("user.created"))
    response = await relay.look_up("evt_1")
    assert response.json()["entity"]["key"] == USER
    assert not re.search(r"ada|@", response.text)


@pytest.mark.parametrize(
    "event_id",
    [
        "a/b",
        "/a",
        "a/",
        "//",
        "a%2Fb",
        "100%",
        "?a=1&b=2",
        "#1",
        "a+b",
        "a:b;c,d",
        "..",
        "../health",
        ".",
        "~'\"<>[]{}|\\^`",
        "x" * 255,
        "replay",
    ],
)
async def test_event_with_unusual_characters_in_its_id_is_found(
    relay: RunningRelay, event_id: str
) -> None:
    assert (await relay.send(CREATED, event_id)).status_code == 202
    scope_path = f"/events/{event_id}"
    # By ASGI itself: a client would take the dots of "/events/.." for a way up.
    request = httpx.Request("GET", "http://relay.test/", headers=relay.bear("events:read"))
    transport = httpx.ASGITransport(relay.app)
    request.url = _Path(scope_path)
    response = await transport.handle_async_request(request)
    assert response.status_code == 200
    assert json.loads(await response.aread())["event_id"] == event_id
    if "." not in event_id:
        response = await relay.look_up(quote(event_id, safe=""))
        assert (response.status_code, response.json()["event_id"]) == (200, event_id)


class _Path(httpx.URL):
    """A URL whose path is passed on as it is."""

    def __init__(self, path: str) -> None:
        super().__init__("http://relay.test/")
        self._path = path

    @property
    def path(self) -> str:
        return self._path


@pytest.mark.parametrize(
    "quoted", ["evt_none", "evt_1/", "EVT_1", "evt_1%00", "%FF", "%ED%A0%80", "", "%20", "x" * 5000]
)
async def test_event_that_is_not_stored_is_not_found(relay: RunningRelay, quoted: str) -> None:
    await relay.send(CREATED, "evt_1")
    assert_problem(await relay.look_up(quoted), 404, "event-not-found")


@pytest.mark.parametrize("event_id", ["evt_1", "evt_none"])
async def test_event_without_the_scope_is_not_shown(relay: RunningRelay, event_id: str) -> None:
    await relay.send(CREATED, "evt_1")
    path = f"/events/{event_id}"
    assert_problem(await relay.http.get(path), 401, "unauthenticated")
    forged = relay.bear("events:read", key=("HS256", "somebody else's secret of tokens"))
    assert_problem(await relay.http.get(path, headers=forged), 401, "unauthenticated")
    expired = dict(relay.bear("events:read", exp=int(relay.clock()) - 31))
    assert_problem(await relay.http.get(path, headers=expired), 401, "unauthenticated")
    other = relay.bear("replay:write webhooks:write")
    assert_problem(await relay.http.get(path, headers=other), 403, "scope-missing")


async def test_event_without_jwt_settings_is_not_configured(starter: RelayStarter) -> None:
    async with starter.start(jwt_secret=None) as relay:
        assert_problem(await relay.look_up("evt_1"), 403, "operator-access-not-configured")


async def test_event_in_an_unreadable_store_gets_a_503(
    relay: RunningRelay,
) -> None:
    relay.query("ALTER TABLE events RENAME TO hidden")
    response = await relay.look_up("evt_1")
    assert_problem(response, 503, "store-unavailable")
    assert int(response.headers["retry-after"]) >= 1
