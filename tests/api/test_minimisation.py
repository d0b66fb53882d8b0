"""Data other than permission data is neither stored, logged nor sent to Supabase."""

import json
from typing import Any

import pytest

from tests.api.relay_harness import (
    JWT_SECRET,
    SUPABASE_KEY,
    TRIP,
    WEBHOOK_SECRET,
    RelayStarter,
    RunningRelay,
    make_body,
)
from tests.fake_postgrest import is_write

STRANGE = "passport-C01X00T47"
EMAIL = "ada.lovelace@example.com"
USERNAME = "countess-of-computing"
EXTRAS: dict[str, Any] = {"phone": STRANGE, "profile": {"notes": [STRANGE]}, STRANGE: STRANGE}

TYPES = (
    "user.created",
    "trip.created",
    "membership.created",
    "user.updated",
    "trip.updated",
    "membership.updated",
    "membership.deleted",
    "trip.deleted",
    "user.deleted",
)


def make_strange(event_type: str) -> dict[str, object]:
    owned: dict[str, str] = {}
    if event_type in ("user.created", "user.updated"):
        owned = {"email": EMAIL, "username": USERNAME}
    return make_body(event_type, **owned, **EXTRAS) | {"trace": STRANGE, STRANGE: 1}


def read_log(caplog: pytest.LogCaptureFixture) -> str:
    """Return the log, with the structured fields, which `caplog.text` lacks."""
    fields = [vars(record).get("fields") for record in caplog.records]
    return caplog.text + json.dumps(fields)


def places(relay: RunningRelay, log: str) -> dict[str, bytes]:
    return {
        "disk": relay.read_files(),
        "log": log.encode(),
        "Supabase": relay.postgrest.received_bytes,
    }


async def test_unknown_fields_of_accepted_events_are_not_stored_or_sent(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for n, event_type in enumerate(TYPES):
        response = await relay.send(make_strange(event_type), f"evt_{n}")
        assert response.status_code == 202
        assert await relay.send_and_wait(make_strange(event_type), f"evt_{n}") != "pending"
        found = places(relay, read_log(caplog))
        assert [place for place, content in found.items() if STRANGE.encode() in content] == []
        if event_type == "user.created":
            # What belongs there is there: the search can find something.
            assert [place for place, content in found.items() if EMAIL.encode() in content] == [
                "disk",
                "Supabase",
            ]
    assert "https://project.supabase.test" in read_log(caplog)  # something is logged at all
    assert EMAIL not in read_log(caplog)
    assert USERNAME not in read_log(caplog)


async def test_lines_about_webhooks_hold_no_personal_data_or_credentials(
    starter: RelayStarter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with starter.start(log_webhooks="all") as relay:
        for n, event_type in enumerate(TYPES):
            await relay.send_and_wait(make_strange(event_type), f"evt_{n}")
        items = [{"id": f"evt_b{n}", **make_strange(type_)} for n, type_ in enumerate(TYPES)]
        await relay.send_batch(*items, STRANGE)
        await relay.send(make_body("user.created", email=EMAIL, username=[STRANGE]), "evt_x")
        await relay.send(make_strange("user.updated"), "evt_0")
        content = json.dumps(make_strange("user.created")).encode()
        bearing = relay.bear_for(content)
        await relay.post("/webhooks", content, relay.sign("evt_y", content) | bearing)
        await relay.post("/webhooks", content, bearing)
    log = read_log(caplog)
    assert log.count('"type": "membership.deleted"') == 1
    credentials = [WEBHOOK_SECRET, JWT_SECRET, SUPABASE_KEY, bearing["authorization"].split()[-1]]
    for text in (STRANGE, EMAIL, USERNAME, *credentials):
        assert text not in log


async def test_unknown_fields_of_a_batch_are_not_stored_or_sent(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    items = [{"id": f"evt_{n}", **make_strange(type_)} for n, type_ in enumerate(TYPES)]
    response = await relay.send_batch(*items, STRANGE, {"id": "evt_x", STRANGE: STRANGE})
    assert response.status_code == 202
    await relay.send_and_wait(make_strange(TYPES[-1]), f"evt_{len(TYPES) - 1}")
    assert STRANGE not in response.text
    for place, content in places(relay, read_log(caplog)).items():
        assert STRANGE.encode() not in content, place


async def test_content_of_rejected_requests_is_not_stored(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    valid = make_strange("user.created")
    await relay.send_and_wait(valid)
    rejected = [
        await relay.post("/webhooks", json.dumps(valid).encode()),
        await relay.send(valid, headers={"content-type": "text/plain"}),
        await relay.send(make_strange("user.updated")),
        await relay.send(make_body("user.created", email=EMAIL, username=[STRANGE]), "evt_2"),
        await relay.send(make_body("user.created", email=STRANGE * 20), "evt_3"),
        await relay.send(make_body("membership.created", role=STRANGE, status=STRANGE), "evt_4"),
        await relay.send(make_body("trip.created", id=STRANGE), "evt_5"),
        await relay.send(make_body("trip.created", at=STRANGE), "evt_6"),
        await relay.send(make_body("trip.created") | {"type": STRANGE}, "evt_7"),
        await relay.send(f'"{STRANGE}'.encode(), "evt_8"),
        await relay.replay({"event_ids": [STRANGE]}),
        await relay.replay({"status": STRANGE}),
    ]
    assert [response.status_code for response in rejected] == [401, 415, 409] + [422] * 9
    for response in rejected:
        assert STRANGE not in response.text
        assert EMAIL not in response.text
    assert EMAIL not in read_log(caplog)
    for place, content in places(relay, read_log(caplog)).items():
        assert STRANGE.encode() not in content, place


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 400, "code": "23514", "message": f"Failing row contains ({EMAIL})"},
        {"status": 409, "code": "23505", "message": f"Key (email)=({EMAIL}) already exists."},
        {
            "status": 400,
            "code": "22P02",
            "message": f'invalid input syntax for type uuid: "{EMAIL}"',
        },
        {"status": 500, "code": "XX000", "message": f"row ({EMAIL})"},
    ],
    ids=lambda answer: str(answer["code"]),
)
async def test_rows_quoted_by_supabase_are_not_repeated(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture, answer: dict[str, object]
) -> None:
    caplog.set_level("DEBUG")
    error = {"code": answer["code"], "message": answer["message"], "details": EMAIL, "hint": EMAIL}
    status = int(str(answer["status"]))
    relay.postgrest.respond_with(status, error, of=is_write)
    # Its own e-mail is another: what is found could only come from the answer.
    await relay.send(make_body("user.created"), "evt_1")
    health = await relay.watch_health(
        lambda body: (
            body["backlog"]["dead"] == 1
            or body["checks"]["supabase"]["status"] == "degraded"
            or "refused" in read_log(caplog)
        )
    )
    event = await relay.look_up("evt_1")
    assert event.status_code == 200
    for text in (json.dumps(health), event.text, read_log(caplog)):
        assert EMAIL not in text
        assert "ada@example.com" not in text
    assert EMAIL.encode() not in relay.read_files()


async def test_user_deleted_is_erased_from_the_disk(relay: RunningRelay) -> None:
    await relay.send_and_wait(make_strange("user.created"), "evt_1")
    await relay.send_and_wait(make_body("membership.created"), "evt_2")
    assert EMAIL.encode() in relay.read_files()
    await relay.send_and_wait(make_body("user.deleted", at="2026-01-02T03:00:01Z"), "evt_3")
    assert_erased(relay)
    # Also when an older event of the user arrives afterwards.
    assert await relay.send_and_wait(make_strange("user.updated"), "evt_4") == "superseded"
    assert_erased(relay)


def assert_erased(relay: RunningRelay) -> None:
    on_disk = relay.read_files()
    assert EMAIL.encode() not in on_disk
    assert USERNAME.encode() not in on_disk
    assert TRIP.encode() in on_disk


async def test_credentials_are_not_logged_whether_accepted_or_not(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    content = json.dumps(make_body("trip.created")).encode()
    signed = relay.sign("evt_1", content)
    bearing = [relay.bear("events:read"), relay.bear("replay:write"), relay.bear_for(content)]
    for headers in bearing:
        await relay.http.get("/events/evt_1", headers=headers)
        await relay.post("/replay", b'{"all": true}', headers)
        await relay.post("/webhooks", content, headers)
        await relay.post("/webhooks", content, signed | headers)
        await relay.post("/webhooks", content + b" ", signed | headers)
    assert "rejected" in read_log(caplog)
    for headers in (signed, *bearing):
        for name in ("authorization", "webhook-signature"):
            if name in headers:
                assert headers[name].split()[-1] not in read_log(caplog)
    for secret in (WEBHOOK_SECRET, JWT_SECRET, SUPABASE_KEY):
        assert secret not in read_log(caplog)
