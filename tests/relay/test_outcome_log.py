"""What the log says of entities: dead letters, revocations, and what was retried."""

import logging
from dataclasses import replace

import pytest

from app.domain.entities import Kind, PendingEntity
from app.domain.failures import RowFailure, RowFailureKind
from app.domain.instants import after, from_seconds
from app.domain.retry import decide_retry
from app.relay.outcome_log import log_applied, log_failure
from tests.histories import World
from tests.relay.harness import Harness
from tests.supabase.entities import make_entity, make_id

NOW = from_seconds(1_767_323_045.0)


@pytest.fixture(autouse=True)
def log_at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def revoked(number: int, event_id: str) -> PendingEntity:
    entity = make_entity(Kind.MEMBERSHIP, number, is_removed=True)
    return replace(
        entity, event_id=event_id, revoked_at=NOW, revocation_received_at=after(NOW, -1.5)
    )


def read_fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(record)["fields"] for record in caplog.records]


@pytest.mark.parametrize(
    ("kind", "level"), [(RowFailureKind.REJECTED, "ERROR"), (RowFailureKind.BUSY, "INFO")]
)
def test_failed_entity_is_named_with_its_event(
    caplog: pytest.LogCaptureFixture, kind: RowFailureKind, level: str
) -> None:
    entity = replace(make_entity(Kind.USER, 1), event_id="evt_1")
    failure = RowFailure(kind, "23514", "violates a check")
    log_failure(entity, "23514", "violates a check", decide_retry(entity, failure, NOW, 1.0))
    (record,) = caplog.records
    assert record.levelname == level
    assert read_fields(caplog) == [
        {"event_id": "evt_1", "entity": f"user/{make_id(1)}", "code": "23514", "attempts": 1}
    ]


def test_revocations_are_one_line_for_each_event(caplog: pytest.LogCaptureFixture) -> None:
    log_applied([revoked(1, "evt_1"), revoked(2, "evt_2"), revoked(3, "evt_2")], NOW)
    paths = [f"membership/{make_id(0)}/{make_id(number)}" for number in (1, 2)]
    assert read_fields(caplog) == [
        {"event_id": "evt_1", "entity": paths[0], "memberships": 1, "relay_seconds": 1.5},
        {"event_id": "evt_2", "entity": paths[1], "memberships": 2, "relay_seconds": 1.5},
    ]
    assert caplog.messages[1].endswith("and 1 more revoked in Supabase")


def test_entity_applied_after_it_failed_is_logged_and_others_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log_applied([make_entity(Kind.USER, 1), replace(make_entity(Kind.USER, 2), attempts=3)], NOW)
    assert caplog.messages == [f"user {make_id(2)} is applied after it failed"]


async def test_dispatched_events_are_named_in_the_log(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    joined, left = world.membership("created", at=1), world.membership("deleted", at=2)
    dead = World().user("created")
    await harness.receive(world.user("created"), world.trip("created"), joined, dead)
    harness.postgrest.fail_row(lambda _, __, row: row.get("id") == dead.key, "23514")
    await harness.drain()
    await harness.receive(left)
    await harness.drain()
    lines = [
        (record.levelname, vars(record)["fields"]["event_id"])
        for record in caplog.records
        if record.name == "app.relay.outcome_log"
    ]
    assert lines == [("ERROR", dead.event_id), ("INFO", left.event_id)]
