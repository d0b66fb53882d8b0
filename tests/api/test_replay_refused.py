"""`POST /replay`: authorization, and rejected requests."""

import json

import pytest

from app.api.request_body import REPLAY_BYTES
from tests.api.relay_harness import (
    USER,
    RelayStarter,
    RunningRelay,
    assert_problem,
    full_disk,
    make_body,
    pointers,
    stream,
)
from tests.api.replaying import assert_nothing_marked, read_states
from tests.fake_postgrest import read_operations


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, [""]),
        ({"dry_run": True}, [""]),
        ({"all": False}, [""]),
        ({"event_ids": None, "status": None}, [""]),
        ({"all": True, "status": "dead"}, [""]),
        ({"all": True, "event_ids": ["evt_user"]}, [""]),
        ({"event_ids": []}, ["/event_ids"]),
        ({"event_ids": "evt_user"}, ["/event_ids"]),
        ({"event_ids": ["evt_user", 7, None]}, ["/event_ids/1", "/event_ids/2"]),
        ({"event_ids": ["x"] * 10_001}, ["/event_ids"]),
        ({"status": "superseded"}, ["/status"]),
        ({"status": "DEAD"}, ["/status"]),
        ({"all": "true"}, ["/all"]),
        ({"all": 1}, ["/all"]),
        ({"all": True, "dry_run": "no"}, ["/dry_run"]),
        ({"all": True, "dryrun": True}, ["/dryrun"]),
        ({"event_ids": ["evt_user"], "a/b~c": 1}, ["/a~1b~0c"]),
        ([], [""]),
        ("all", [""]),
        (None, [""]),
    ],
    ids=lambda value: json.dumps(value)[:50],
)
async def test_replay_with_an_invalid_body_names_every_field_and_queues_nothing(
    storied: RunningRelay, filter_: object, expected: list[str]
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    problem = assert_problem(await storied.replay(filter_), 422, "input-invalid")
    assert pointers(problem) == expected
    await assert_nothing_marked(storied, states, writes)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("unknown", ["evt_none", "", "\x00", "\ud800", "x" * 1000, "é"])
async def test_replay_of_an_unknown_id_names_its_position_and_queues_nothing(
    storied: RunningRelay, unknown: str, dry_run: bool
) -> None:
    states, writes = read_states(storied), len(storied.postgrest.writes)
    filter_ = {"event_ids": ["evt_user", unknown, "evt_trip", unknown], "dry_run": dry_run}
    problem = assert_problem(await storied.replay(filter_), 422, "input-invalid")
    assert pointers(problem) == ["/event_ids/1", "/event_ids/3"]
    await assert_nothing_marked(storied, states, writes)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"all": true, "all": true}', b'{"all": NaN}', b"[" * 9999]
)
async def test_replay_of_broken_json_is_invalid_to_an_operator_only(
    relay: RunningRelay, content: bytes
) -> None:
    response = await relay.post("/replay", content)
    assert_problem(response, 401, "unauthenticated")
    response = await relay.post("/replay", content, relay.bear("events:read"))
    assert_problem(response, 403, "scope-missing")
    response = await relay.post("/replay", content, relay.bear("replay:write"))
    problem = assert_problem(response, 422, "input-invalid")
    assert pointers(problem) == [""]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic b3BzOm9wcw==", "Bearer a.b.c", "Bearer \u00e9"],
)
async def test_replay_without_a_token_is_not_authentic(
    relay: RunningRelay, authorization: str
) -> None:
    response = await relay.post("/replay", b'{"all": true}', {"authorization": authorization})
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["www-authenticate"] == "Bearer"


async def test_replay_with_the_signature_of_a_webhook_is_not_authentic(
    relay: RunningRelay,
) -> None:
    response = await relay.send({"all": True}, path="/replay")
    assert_problem(response, 401, "unauthenticated")


async def test_replay_without_jwt_settings_is_not_configured(starter: RelayStarter) -> None:
    async with starter.start(jwt_secret=None) as relay:
        for headers in ({}, relay.bear("replay:write")):
            response = await relay.post("/replay", b'{"all": true}', headers)
            assert_problem(response, 403, "operator-access-not-configured")


@pytest.mark.parametrize("subject", ["\ud800", "\x00", "x" * 5000])
async def test_replay_by_an_unusual_subject_is_done_or_rejected(
    relay: RunningRelay, subject: str
) -> None:
    response = await relay.replay({"all": True}, sub=subject)
    assert response.status_code in (202, 401)
    assert relay.query("SELECT count(*) FROM replays") == [(int(response.status_code == 202),)]


async def test_replay_of_the_largest_size_is_read_and_a_byte_more_is_not(
    relay: RunningRelay,
) -> None:
    content = b'{"all": true}'.ljust(REPLAY_BYTES)
    response = await relay.post("/replay", content, relay.bear("replay:write"))
    assert response.status_code == 202
    for body in (content + b" ", stream(content + b" ")):
        response = await relay.post("/replay", body, relay.bear("replay:write"))
        assert_problem(response, 413, "body-too-large")


async def test_replay_not_of_json_is_unsupported(relay: RunningRelay) -> None:
    headers = {**relay.bear("replay:write"), "content-type": "text/plain"}
    response = await relay.post("/replay", b'{"all": true}', headers)
    assert_problem(response, 415, "media-type-unsupported")


async def test_replay_that_cannot_be_committed_gets_a_503(
    storied: RunningRelay,
) -> None:
    states = read_states(storied)
    with full_disk():
        response = await storied.replay({"all": True})
    assert_problem(response, 503, "store-unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert read_states(storied) == states
    assert (await storied.replay({"all": True})).status_code == 202


async def test_replay_of_a_disconnected_sender_is_no_error(
    relay: RunningRelay, caplog: pytest.LogCaptureFixture
) -> None:
    # The server logs exceptions as errors, and this is none.
    await relay.break_off("/replay", b'{"all": true}', relay.bear("replay:write"))
    assert relay.query("SELECT count(*) FROM replays") == [(0,)]
    assert "ERROR" not in caplog.text


async def test_replay_of_a_removed_user_applies_the_removal_only(storied: RunningRelay) -> None:
    removal = make_body("user.deleted", at="2026-01-02T03:00:01Z")
    await storied.send_and_wait(removal, "evt_gone")
    before = len(storied.postgrest.writes)
    await storied.replay({"event_ids": ["evt_user"]})
    await storied.send_and_wait(removal, "evt_gone")
    (request,) = storied.postgrest.writes[before:]
    (operation,) = read_operations(request)
    assert (operation["operation"], operation["table"]) == ("delete", "public.users")
    assert operation["rows"] == [{"id": USER}]
