"""`POST /webhooks`."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.api.request_body import EVENT_BYTES
from tests.api.relay_harness import (
    NOW,
    USER,
    RelayStarter,
    RunningRelay,
    SlowBody,
    assert_problem,
    full_disk,
    make_body,
    pointers,
    stream,
)
from tests.auth.issuer import Clock
from tests.fake_postgrest import is_write

GOLDEN = Path(__file__).parents[1] / "golden/events"
INVALID: list[dict[str, Any]] = json.loads((GOLDEN / "invalid.json").read_text())["bodies"]
VALID: dict[str, Any] = {
    path.stem: json.loads(path.read_text())["body"]
    for path in sorted(GOLDEN.glob("*.json"))
    if path.name != "invalid.json"
}

CREATED = make_body("membership.created")


# --- 202 and 200 ---


@pytest.mark.parametrize("event_type", VALID)
async def test_webhook_of_each_type_is_accepted_and_applied(
    relay: RunningRelay, event_type: str
) -> None:
    body = VALID[event_type]
    response = await relay.send(body, "evt_golden")
    assert response.status_code == 202
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"event_id": "evt_golden", "status": "accepted"}
    assert await relay.send_and_wait(body, "evt_golden") == "applied"


async def test_webhook_sent_again_is_a_duplicate_stored_once(relay: RunningRelay) -> None:
    await relay.send(CREATED)
    response = await relay.send(CREATED)
    assert response.status_code == 200
    assert response.json() == {"event_id": "evt_1", "status": "duplicate"}
    assert relay.query("SELECT count(*) FROM events") == [(1,)]


async def test_webhook_sent_again_in_other_words_is_a_duplicate(relay: RunningRelay) -> None:
    body = make_body("user.created", username="Zoë")
    reordered = {name: body[name] for name in ("data", "timestamp", "type")}
    reordered["data"] = dict(reversed(body["data"].items()))
    await relay.send(body)
    response = await relay.send(json.dumps(reordered, indent=3, ensure_ascii=False).encode())
    assert (response.status_code, response.json()["status"]) == (200, "duplicate")


async def test_webhook_sent_many_times_at_once_is_accepted_once(relay: RunningRelay) -> None:
    responses = await asyncio.gather(*(relay.send(CREATED) for _ in range(20)))
    assert sorted(response.status_code for response in responses) == [200] * 19 + [202]


async def test_webhook_accepted_is_seen_by_another_process(relay: RunningRelay) -> None:
    relay.postgrest.hang(of=is_write)
    assert (await relay.send(CREATED, "evt_durable")).status_code == 202
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sqlite3, sys\n"
        "store = sqlite3.connect(sys.argv[1])\n"
        "print(store.execute('SELECT event_id, type FROM events').fetchall())",
        str(relay.folder / "relay.db"),
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert printed.decode().strip() == "[('evt_durable', 'membership.created')]"


async def test_webhook_is_answered_only_after_its_commit(relay: RunningRelay) -> None:
    other = sqlite3.connect(relay.folder / "relay.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sending = asyncio.create_task(relay.send(CREATED))
    done, _ = await asyncio.wait({sending}, timeout=0.1)
    assert not done
    other.execute("ROLLBACK")
    other.close()
    assert (await sending).status_code == 202


# --- 401 ---


async def test_webhook_not_authentic_gets_the_same_opaque_401_for_every_reason(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    content = json.dumps(CREATED).encode()
    signed = relay.sign("evt_1", content)
    now = int(relay.clock())
    forged = relay.sign("evt_1", content, secret="whsec_" + "b" * 32)
    headers = {
        "header-missing": {},
        "timestamp-malformed": signed | {"webhook-timestamp": "yesterday"},
        "timestamp-too-old": signed | {"webhook-timestamp": str(now - 301)},
        "timestamp-too-new": signed | {"webhook-timestamp": str(now + 301)},
        "signature-too-long": signed | {"webhook-signature": "v1,A " * 20_000},
        "no-match": forged,
    }
    answers = set()
    for reason, sent in headers.items():
        caplog.clear()
        # Without a request id of its own, each response would have another one.
        response = await relay.post("/webhooks", content, sent | {"x-request-id": "req-1"})
        problem = assert_problem(response, 401, "unauthenticated")
        assert problem["detail"] == "The request is not authenticated."
        assert response.headers["www-authenticate"] == "Bearer"
        assert reason in caplog.text
        answers.add((response.content, tuple(response.headers.raw)))
    assert len(answers) == 1
    assert relay.query("SELECT count(*) FROM events") == [(0,)]


@pytest.mark.parametrize(
    "change",
    [{}, {"webhook-id": "evt_2"}, {"webhook-timestamp": "1767323046"}],
    ids=["body", "id", "timestamp"],
)
async def test_webhook_changed_after_signing_is_not_authentic(
    relay: RunningRelay, change: dict[str, str]
) -> None:
    content = json.dumps(CREATED).encode()
    headers = relay.sign("evt_1", content)
    if not change:
        content = content.replace(b"MEMBER", b"OWNER")
    headers |= change
    assert_problem(await relay.post("/webhooks", content, headers), 401, "unauthenticated")


async def test_webhook_sent_late_is_accepted_up_to_the_tolerance(relay: RunningRelay) -> None:
    content = json.dumps(CREATED).encode()
    headers = relay.sign("evt_1", content)
    relay.clock.advance(300)
    assert (await relay.post("/webhooks", content, headers)).status_code == 202
    relay.clock.advance(1)
    assert_problem(await relay.post("/webhooks", content, headers), 401, "unauthenticated")


# --- 409, 413, 415, 422 ---


@pytest.mark.parametrize(
    "other",
    [
        make_body("membership.created", role="OWNER"),
        make_body("membership.created", at="2026-01-02T03:00:00.000001Z"),
        make_body("membership.updated"),
    ],
    ids=["data", "timestamp", "type"],
)
async def test_webhook_with_the_id_of_another_is_a_conflict(
    relay: RunningRelay, other: dict[str, Any]
) -> None:
    await relay.send_and_wait(CREATED)
    assert_problem(await relay.send(other), 409, "event-id-conflict")
    assert await relay.send_and_wait(CREATED) == "applied"
    assert relay.postgrest.rows("trip_memberships") == [CREATED["data"]]


@pytest.mark.parametrize("send", [bytes, stream], ids=["content-length", "chunked"])
async def test_webhook_of_the_largest_size_is_accepted_and_a_byte_more_is_not(
    relay: RunningRelay, send: Callable[[bytes], Any]
) -> None:
    content = json.dumps(CREATED).encode().ljust(EVENT_BYTES)
    assert len(content) == 65_536
    response = await relay.post("/webhooks", send(content), relay.sign("evt_1", content))
    assert response.status_code == 202
    content += b" "
    response = await relay.post("/webhooks", send(content), relay.sign("evt_2", content))
    assert_problem(response, 413, "body-too-large")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_webhook_of_json_by_another_name_is_accepted(
    relay: RunningRelay, media_type: str
) -> None:
    response = await relay.send(CREATED, headers={"content-type": media_type})
    assert response.status_code == 202


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_webhook_not_of_json_is_unsupported(relay: RunningRelay, media_type: str) -> None:
    response = await relay.send(CREATED, headers={"content-type": media_type})
    assert_problem(response, 415, "media-type-unsupported")


async def test_webhook_with_an_invalid_body_names_every_field(relay: RunningRelay) -> None:
    named = {}
    for case in INVALID:
        content = case["text"].encode() if "text" in case else json.dumps(case["body"]).encode()
        problem = assert_problem(await relay.send(content), 422, "input-invalid")
        named[case["name"]] = pointers(problem)
    assert named == {case["name"]: case["pointers"] for case in INVALID}
    assert relay.query("SELECT count(*) FROM events") == [(0,)]


async def test_webhook_with_an_id_that_is_none_is_invalid(relay: RunningRelay) -> None:
    for event_id in ("with space", "é", "x" * 256, "tab\t"):
        assert_problem(await relay.send(CREATED, event_id), 422, "input-invalid")


async def test_webhook_ahead_of_the_clock_is_invalid_until_its_time_comes(
    relay: RunningRelay,
) -> None:
    body = make_body("membership.created", at="2026-01-02T03:09:06Z")
    problem = assert_problem(await relay.send(body), 422, "input-invalid")
    assert pointers(problem) == ["/timestamp"]
    relay.clock.advance(1)
    assert (await relay.send(body)).status_code == 202


async def test_webhook_with_roles_of_the_deployment_is_accepted(starter: RelayStarter) -> None:
    guide = make_body("membership.created", role="GUIDE", status="INVITED")
    async with starter.start() as relay:
        problem = assert_problem(await relay.send(guide), 422, "input-invalid")
        assert pointers(problem) == ["/data/role", "/data/status"]
    async with starter.start(
        membership_roles="GUIDE", membership_statuses="ACTIVE,INVITED"
    ) as relay:
        assert (await relay.send(guide)).status_code == 202


# --- 404, 405 ---


async def test_path_that_is_none_is_a_problem(relay: RunningRelay) -> None:
    for path in ("/webhook", "/webhooks/", "/webhooks/batch/", "/docs/", "/redoc", "/favicon.ico"):
        assert_problem(await relay.send(CREATED, path=path), 404, "path-not-found")


async def test_webhook_by_another_method_is_a_problem(relay: RunningRelay) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        response = await relay.http.request(method, "/webhooks")
        assert_problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "POST"


# --- 429, 503 ---


async def test_webhook_beyond_max_in_flight_gets_a_429(starter: RelayStarter) -> None:
    async with starter.start(max_in_flight=1) as relay:
        with relay.app.state.services.in_flight.acquire():
            response = await relay.send(CREATED, "evt_1")
            assert_problem(response, 429, "overloaded")
            assert int(response.headers["retry-after"]) >= 1
            assert (await relay.http.get("/health/live")).status_code == 200
        assert (await relay.send(CREATED, "evt_1")).status_code == 202


async def test_webhook_with_a_slow_body_does_not_delay_others(starter: RelayStarter) -> None:
    async with starter.start(max_in_flight=1) as relay:
        content = json.dumps(CREATED).encode()
        body = SlowBody(content)
        sending = asyncio.create_task(relay.post("/webhooks", body, relay.sign("evt_1", content)))
        await body.begun.wait()
        assert (await relay.send(CREATED, "evt_2")).status_code == 202
        body.rest.set()
        assert (await sending).status_code == 202


async def test_webhook_that_cannot_be_committed_gets_a_503_and_is_not_stored(
    relay: RunningRelay,
) -> None:
    bodies = [make_body("user.created", id=USER[:-1] + str(n)) for n in range(10)]
    with full_disk():
        responses = await asyncio.gather(
            *(relay.send(body, f"evt_{n}") for n, body in enumerate(bodies))
        )
    for response in responses:
        assert_problem(response, 503, "store-unavailable")
        assert int(response.headers["retry-after"]) >= 1
    assert relay.query("SELECT count(*) FROM events") == [(0,)]
    assert relay.query("SELECT count(*) FROM entities") == [(0,)]
    # The disk has room again: the retry is new, not a duplicate.
    for n, body in enumerate(bodies):
        assert (await relay.send(body, f"evt_{n}")).status_code == 202


class BreakableClock(Clock):
    """A clock that can be told to raise an unexpected error."""

    is_broken = False

    def __call__(self) -> float:
        if self.is_broken:
            raise RuntimeError("the password is swordfish")
        return super().__call__()


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/batch"])
async def test_webhook_with_an_unexpected_error_gets_no_details(
    starter: RelayStarter, path: str
) -> None:
    clock = BreakableClock(NOW)
    content = json.dumps(CREATED).encode()
    async with RelayStarter(starter.folder, starter.postgrest, clock=clock).start(
        max_in_flight=1
    ) as relay:
        signed = relay.sign("evt_1", content)
        clock.is_broken = True
        for _ in range(2):
            response = await relay.post(path, content, signed)
            assert_problem(response, 500, "internal-error")
            assert "swordfish" not in response.text
        clock.is_broken = False
        assert (await relay.post("/webhooks", content, signed)).status_code == 202


async def test_webhook_of_a_disconnected_sender_gets_no_response(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.dumps(CREATED).encode()
    assert await relay.break_off("/webhooks", content, relay.sign("evt_1", content)) == []
    assert relay.query("SELECT count(*) FROM events") == [(0,)]
    assert "ERROR" not in caplog.text
