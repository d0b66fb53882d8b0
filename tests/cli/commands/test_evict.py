"""`relay evict`, against a fake relay."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.relay_harness import TRIP, USER
from tests.cli.conftest import RunCommand, verify_token
from tests.cli.documents import make_event
from tests.cli.wire import Answer, Asked, Wire, confirm, document, problem

OTHER_TRIP = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEY = f"{TRIP}/{USER}"
ONE = ("evict", "--user", USER, "--trip", TRIP, "--yes")
ALL = ("evict", "--user", USER, "--yes")


def make_entity(trip: str = TRIP, **changes: Any) -> dict[str, Any]:
    entity = {
        "key": f"{trip}/{USER}",
        "version_at": "2026-01-02T03:04:05.678901Z",
        "is_removed": False,
        "digest": "0" * 32,
    }
    return entity | changes


def make_relay(
    *entities: dict[str, Any], status: str = "applied", reason: str | None = None, **event: Any
) -> Callable[[Asked], Answer]:
    """Make a relay that has these memberships, and where removals come to this status."""

    def answer(asked: Asked) -> Answer:
        match asked.path.split("/")[1:]:
            case ["entities"]:
                return document({"entities": list(entities), "next_cursor": None})
            case ["webhooks"]:
                settled = status if status != "pending" else "duplicate"
                return document({"event_id": asked.headers["webhook-id"], "status": settled})
            case ["events", event_id]:
                return document(make_event(event_id, status, **event))
            case ["health"]:
                checks = {"dispatcher": {"reason": None}, "supabase": {"reason": reason}}
                return document({"checks": checks})
            case _:
                return confirm(asked)

    return answer


def list_sent(wire: Wire) -> list[dict[str, Any]]:
    """List the events of the only batch."""
    (batch,) = [asked for asked in wire.asked if asked.path == "/webhooks/batch"]
    events: list[dict[str, Any]] = batch.body["events"]
    return events


def test_evict_from_one_trip_sends_its_removal_and_waits_for_supabase(
    wire: Wire, run: RunCommand
) -> None:
    wire.answers = [make_relay(make_entity(), make_entity(OTHER_TRIP))]
    done = run(*ONE)
    assert (done.code, done.out.count("\n")) == (0, 1), done.err
    assert done.out.startswith("in force in Supabase after ")
    assert done.out.endswith(f": 1 membership of user {USER} removed\n")
    assert "Remove the member in the backend too" in done.err
    (event,) = list_sent(wire)
    assert event["type"] == "membership.deleted"
    assert event["data"] == {"trip_id": TRIP, "user_id": USER}
    age = datetime.now(UTC) - datetime.fromisoformat(event["timestamp"])
    assert timedelta(0) <= age < timedelta(minutes=1)
    (waiting,) = [asked for asked in wire.asked if asked.path == "/webhooks"]
    assert waiting.headers["webhook-id"] == event.pop("id")
    assert (waiting.headers["prefer"], waiting.body) == ("wait=10", event)


def test_evict_from_all_trips_removes_what_the_relay_desires(wire: Wire, run: RunCommand) -> None:
    removed = make_entity(USER, is_removed=True, digest=None)
    wire.answers = [make_relay(make_entity(), removed, make_entity(OTHER_TRIP))]
    done = run(*ALL, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    sent = list_sent(wire)
    assert [event["data"]["trip_id"] for event in sent] == [TRIP, OTHER_TRIP]
    assert (answer["user_id"], answer["in_force"]) == (USER, True)
    assert [each["event_id"] for each in answer["removals"]] == [event["id"] for event in sent]
    assert {each["status"] for each in answer["removals"]} == {"applied"}
    assert wire.asked[0].query["user_id"] == [USER]


def test_evict_wins_over_a_membership_of_a_clock_that_is_ahead(wire: Wire, run: RunCommand) -> None:
    ahead = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    wire.answers = [make_relay(make_entity(version_at=ahead))]
    assert run(*ONE).code == 0
    (event,) = list_sent(wire)
    assert datetime.fromisoformat(event["timestamp"]) == datetime.fromisoformat(ahead)


def test_evict_from_a_trip_that_the_relay_does_not_know_sends_the_removal(
    wire: Wire, run: RunCommand
) -> None:
    wire.answers = [make_relay()]
    assert run(*ONE).code == 0
    assert len(list_sent(wire)) == 1


def test_evict_of_a_membership_removed_before_says_how_to_write_it_again(
    wire: Wire, run: RunCommand
) -> None:
    wire.answers = [make_relay(make_entity(is_removed=True, digest=None))]
    done = run(*ONE)
    assert done.code == 0
    assert f"relay replay {list_sent(wire)[0]['id']}" in done.err


def test_evict_that_is_pending_says_why_and_exits_with_1(wire: Wire, run: RunCommand) -> None:
    wire.answers = [make_relay(make_entity(), status="pending", reason="unreachable: [red]")]
    done = run(*ONE, "--wait", "3")
    assert done.code == 1
    assert done.out == f"accepted, pending: membership {KEY}: unreachable: [red]\n"
    assert f"relay events {list_sent(wire)[0]['id']}" in done.err


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        ("dead", {"last_error_code": "23503", "last_error": "still referenced"}, "23503: still"),
        ("pending", {"last_error_code": "55P03", "last_error": "locked"}, "55P03: locked"),
        ("superseded", {}, "A later event of the same membership"),
    ],
)
def test_evict_that_supabase_does_not_hold_exits_with_1(
    wire: Wire, run: RunCommand, status: str, error: dict[str, str], reason: str
) -> None:
    wire.answers = [make_relay(make_entity(), status=status, **error)]
    done = run(*ONE, "--json")
    assert done.code == 1
    (removal,) = json.loads(done.out)["removals"]
    assert removal["status"] == status
    assert removal["reason"].startswith(reason)


def test_evict_of_nobody_exits_with_2_and_sends_nothing(wire: Wire, run: RunCommand) -> None:
    wire.answers = [make_relay()]
    done = run(*ALL)
    assert done.code == 2
    assert f"the relay has no membership of user {USER}" in done.err
    assert {asked.path for asked in wire.asked} == {"/entities"}


def test_evict_without_terminal_and_confirmation_sends_nothing(wire: Wire, run: RunCommand) -> None:
    wire.answers = [make_relay(make_entity())]
    done = run(*ALL[:-1])
    assert (done.code, "add --yes" in done.err) == (2, True)
    assert {asked.path for asked in wire.asked} == {"/entities"}


def test_evict_that_the_relay_rejects_exits_with_2(wire: Wire, run: RunCommand) -> None:
    answer = make_relay(make_entity())
    refusal = problem(401, "unauthenticated")
    wire.answers = [lambda asked: refusal if asked.path == "/webhooks/batch" else answer(asked)]
    done = run(*ONE)
    assert done.code == 2
    assert "does not accept the signature" in done.err


def test_evict_with_an_invalid_event_names_the_field(wire: Wire, run: RunCommand) -> None:
    answer = make_relay(make_entity())

    def refuse(asked: Asked) -> Answer:
        if asked.path != "/webhooks/batch":
            return answer(asked)
        errors = [{"pointer": "/events/0/timestamp", "detail": "is in the future"}]
        event_id = asked.body["events"][0]["id"]
        return document(
            {"results": [{"event_id": event_id, "status": "invalid", "errors": errors}]}, 200
        )

    wire.answers = [refuse]
    done = run(*ONE)
    assert done.code == 2
    assert "/timestamp: is in the future" in done.err


async def test_evict_carries_a_token_for_exactly_this_webhook(
    wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.test")
    monkeypatch.setenv("JWT_AUDIENCE", "relay")
    wire.answers = [make_relay(make_entity())]
    assert run(*ONE).code == 0
    sent = [asked for asked in wire.asked if asked.method == "POST"]
    assert len(sent) == 2
    for asked in sent:
        claims = await verify_token(asked.bearer, issuer="https://issuer.test", audience="relay")
        assert claims.scopes == {"webhooks:write"}
        assert claims.webhook_id == asked.headers["webhook-id"]
        assert "webhook-signature" in asked.headers
    monkeypatch.delenv("WEBHOOK_SECRETS")
    assert run(*ONE).code == 0
    assert "webhook-signature" not in wire.asked[-1].headers
