"""`POST /webhooks` with `Prefer: wait`."""

import asyncio

import pytest

from tests.api.relay_harness import RunningRelay, in_time, make_body, refuse_rows
from tests.fake_postgrest import is_write

CREATED = make_body("membership.created")


async def test_webhook_that_waits_is_applied(relay: RunningRelay) -> None:
    response = await relay.send(CREATED, headers={"prefer": "wait=10"})
    assert response.status_code == 200
    assert response.json() == {"event_id": "evt_1", "status": "applied"}
    assert response.headers["preference-applied"] == "wait=10"
    assert relay.postgrest.rows("trip_memberships") == [CREATED["data"]]


async def test_webhook_that_waits_is_answered_once_supabase_has_it(relay: RunningRelay) -> None:
    relay.postgrest.hang(of=is_write)
    sending = asyncio.create_task(relay.send(CREATED, headers={"prefer": "wait=30"}))
    await in_time(relay.postgrest.wait_for_writes(1))
    assert not sending.done()
    relay.postgrest.heal()
    assert (await sending).json()["status"] == "applied"


async def test_webhook_that_waits_behind_a_newer_one_is_superseded(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_body("membership.deleted", at="2026-01-02T03:00:01Z"), "evt_2")
    assert await relay.send_and_wait(CREATED) == "superseded"
    assert relay.postgrest.rows("trip_memberships") == []


async def test_webhook_that_waits_and_is_rejected_is_dead(relay: RunningRelay) -> None:
    refuse_rows(relay.postgrest)
    assert await relay.send_and_wait(CREATED) == "dead"


async def test_webhook_with_an_expired_wait_gets_the_usual_response(relay: RunningRelay) -> None:
    relay.postgrest.hang(of=is_write)
    await relay.send(CREATED, "evt_1")
    headers = {"prefer": "wait=1"}
    again, new = await asyncio.gather(
        relay.send(CREATED, "evt_1", headers=headers),
        relay.send(make_body("trip.created"), "evt_2", headers=headers),
    )
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert (new.status_code, new.json()["status"]) == (202, "accepted")


async def test_webhook_that_waits_for_no_time_is_accepted(relay: RunningRelay) -> None:
    relay.postgrest.hang(of=is_write)
    response = await relay.send(CREATED, headers={"prefer": "wait=0"})
    assert (response.status_code, response.json()["status"]) == (202, "accepted")


@pytest.mark.parametrize(
    ("preference", "applied"),
    [
        ("wait=31", "wait=30"),
        ("wait=999999999", "wait=30"),
        ("respond-async, wait=7", "wait=7"),
        ("Wait = 7", "wait=7"),
        ("respond-async", None),
        ("wait", None),
        ("wait=soon", None),
        ("wait=-1", None),
        ("await=7", None),
        ("wait=\u0663", None),  # a digit, but no ASCII one
    ],
)
async def test_webhook_with_a_preference_shows_the_applied_one(
    relay: RunningRelay, preference: str, applied: str | None
) -> None:
    response = await relay.send(CREATED, headers={"prefer": preference})
    assert response.headers.get("preference-applied") == applied
    assert response.status_code == (202 if applied is None else 200)


async def test_webhook_that_waits_when_a_stop_begins_is_accepted_at_once(
    relay: RunningRelay,
) -> None:
    relay.postgrest.hang(of=is_write)
    headers = {"prefer": "wait=30"}
    sending = asyncio.create_task(relay.send(CREATED, headers=headers))
    await in_time(relay.postgrest.wait_for_writes(1))
    relay.app.state.services.begin_stop()
    async with asyncio.timeout(60):
        response = await sending
        late = await relay.send(CREATED, headers=headers)
    assert (response.status_code, response.json()) == (
        202,
        {"event_id": "evt_1", "status": "accepted"},
    )
    assert (late.status_code, late.json()["status"]) == (200, "duplicate")


async def test_webhook_stored_with_an_unreadable_status_is_accepted(relay: RunningRelay) -> None:
    relay.postgrest.hang(of=is_write)
    sending = asyncio.create_task(relay.send(CREATED, headers={"prefer": "wait=30"}))
    await in_time(relay.postgrest.wait_for_writes(1))
    relay.query("ALTER TABLE events RENAME TO hidden")
    relay.postgrest.heal()
    # The event is durable, which a 503 would deny.
    response = await sending
    assert (response.status_code, response.json()["status"]) == (202, "accepted")
