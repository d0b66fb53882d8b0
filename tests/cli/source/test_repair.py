"""The events of a plan: their order, ids, times and data."""

import json

from app.cli.client.batches import BatchSender, LineResult
from app.cli.client.relay_client import open_client
from app.cli.client.signing import WebhookSigner
from app.cli.source.differences import Differences
from app.cli.source.repair import send_repairs
from app.cli.source.snapshot import Snapshot
from app.domain.entities import Kind
from app.domain.event_reader import is_event_id
from tests.api.relay_harness import WEBHOOK_SECRET
from tests.cli.source.sides import (
    ANA,
    AT,
    BEN,
    CAT,
    OLD_TRIP,
    TRIP,
    compare,
    fill,
    held,
    member,
    trip,
    user,
)
from tests.cli.wire import Wire, confirm

PLAN = "0123456789ab"


def send(wire: Wire, snapshot: Snapshot, differences: Differences) -> list[LineResult]:
    wire.answers = [confirm]
    with open_client(wire.url) as client:
        sender = BatchSender(client, WebhookSigner(WEBHOOK_SECRET), 0, lambda *_: None)
        return [
            result
            for batch in send_repairs(sender, differences, snapshot, PLAN)
            for result in batch
        ]


def test_leaks_are_repaired_first_and_parents_are_written_before_members(wire: Wire) -> None:
    inactive = member(ANA, OLD_TRIP, status="INACTIVE")
    rows = [user(), user(BEN, "ben"), trip(), member(ANA), member(BEN, role="OWNER"), inactive]
    entities = [
        held(user(CAT, "cat")),
        held(trip(OLD_TRIP)),
        held(trip(name="Porto")),
        held(member(BEN)),
        held(member(CAT)),
        held(member(ANA, OLD_TRIP)),
    ]
    with Snapshot() as snapshot, Differences() as differences:
        compare(fill(snapshot, rows), differences, entities)
        results = send(wire, snapshot, differences)
    (asked,) = wire.asked
    assert asked.path == "/webhooks/batch"
    events = asked.body["events"]
    assert [(event["type"], event["data"]) for event in events] == [
        ("membership.deleted", {"trip_id": TRIP, "user_id": CAT}),
        ("membership.updated", inactive),
        ("trip.deleted", {"id": OLD_TRIP}),
        ("user.deleted", {"id": CAT}),
        ("user.created", user()),
        ("user.created", user(BEN, "ben")),
        ("trip.updated", trip()),
        ("membership.created", member(ANA)),
        ("membership.updated", member(BEN, role="OWNER")),
    ]
    assert {event["timestamp"] for event in events} == {"2026-01-02T03:00:00Z"}
    assert len(results) == len({event["id"] for event in events}) == 9
    assert all(is_event_id(event["id"]) for event in events)
    assert events[0]["id"] == f"reconcile-{PLAN}-{AT}-membership-{TRIP}/{CAT}"


def test_same_plan_of_the_same_snapshot_is_the_same_events(wire: Wire) -> None:
    for _ in range(2):
        with Snapshot() as snapshot, Differences() as differences:
            compare(fill(snapshot, [user()]), differences, [])
            send(wire, snapshot, differences)
    first, second = wire.asked
    assert first.content == second.content


def test_what_is_not_repaired_is_not_sent(wire: Wire) -> None:
    with Snapshot() as snapshot, Differences() as differences:
        _, found = compare(fill(snapshot, [member()]), differences, [])
        assert found[0].note is not None
        assert send(wire, snapshot, differences) == []
    assert wire.asked == []


def test_fields_beyond_the_contract_are_sent_too(wire: Wire) -> None:
    with Snapshot() as snapshot, Differences() as differences:
        snapshot.at = AT
        snapshot.add_row(Kind.USER, user(), {**user(), "age": 5})
        compare(snapshot, differences, [])
        send(wire, snapshot, differences)
    assert json.loads(wire.asked[0].content)["events"][0]["data"] == {**user(), "age": 5}
