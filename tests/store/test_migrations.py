"""A store that an earlier version has filled is brought here with all that it holds."""

from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, MetaData, select, text

from app.domain.criteria import Criteria
from app.domain.entities import EntityKey, EntityRef, EventStatus, Kind
from app.domain.history import ReplayId, ReplayStatus
from app.domain.instants import Instant
from app.store import migrating
from app.store.schema import entities, events, replays
from app.store.store import Store
from tests.histories import NOW, make_event
from tests.store.actions import look_at, pick_pending, replay

TRIP = EntityRef(Kind.TRIP, EntityKey("456e7890-e89b-12d3-a456-426614174001"))
USER = EntityRef(Kind.USER, EntityKey("123e4567-e89b-12d3-a456-426614174000"))
# Fell with its trip: the store holds no event of its own.
FALLEN = EntityRef(Kind.MEMBERSHIP, EntityKey(f"{TRIP.key}/{USER.key}"))

# Sequence, entity. The user's came between the trip's; the trip's second came too late to count.
CHAIN = ((3, TRIP), (5, USER), (6, TRIP), (9, TRIP), (10, USER))
PREVIOUS = {3: None, 5: None, 6: 3, 9: 6, 10: 5}
REPLAYS = (
    ("r-completed", 30, "jane", '{"event_ids": ["evt_3"], "status": null, "all": false}', 1, 1),
    ("r-failed", 10, None, '{"event_ids": null, "status": "dead", "all": false}', 7, 5),
    ("r-running", 20, "joe", '{"event_ids": null, "status": null, "all": true}', 4, 2),
)


@pytest.fixture
def old_store_url(store_url: str, engine: Engine) -> str:
    """A store as the first schema had it, with rows in it."""
    config = Config()
    config.set_main_option("script_location", str(migrating._SCRIPTS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        fill(connection)
        connection.commit()
    return store_url


def fill(connection: Connection) -> None:
    old = MetaData()
    old.reflect(connection)
    assert "previous" not in old.tables["events"].c
    for sequence, ref in CHAIN:
        connection.execute(
            old.tables["events"].insert(),
            {"sequence": sequence, "event_id": f"evt_{sequence}", "type": f"{ref.kind}.updated",
             "kind": ref.kind.value, "key": ref.key, "occurred_at": sequence, "is_removal": False,
             "received_at": NOW + sequence, "digest": b"d", "data": "{}"},
        )  # fmt: skip
    for ref, sequence, state in ((TRIP, 9, "dead"), (USER, 5, "applied"), (FALLEN, 2, "pending")):
        row: dict[str, Any] = dict.fromkeys(
            ("priority", "revision", "pending_since", "due_at", "attempts"), 1
        )
        row |= {"kind": ref.kind.value, "key": ref.key, "occurred_at": sequence,
                "is_removal": False, "sequence": sequence, "row": "{}", "state": state,
                "awaits_parent": False}  # fmt: skip
        connection.execute(old.tables["entities"].insert(), row)
    names = ("replay_id", "requested_at", "requested_by", "filter", "matched_events", "entities")
    for values in REPLAYS:
        connection.execute(
            old.tables["replays"].insert(),
            dict(zip(names, values, strict=True)) | {"status": values[0].removeprefix("r-")},
        )


async def test_migration_links_the_events_of_each_entity(
    old_store_url: str, engine: Engine
) -> None:
    store = await Store.open(old_store_url)
    with engine.connect() as connection:
        linked = connection.execute(select(events.c.sequence, events.c.previous)).all()
        latest = connection.execute(
            select(entities.c.kind, entities.c.latest_event, entities.c.replay)
        ).all()
    await store.close()
    assert {row.sequence: row.previous for row in linked} == PREVIOUS
    assert {tuple(row) for row in latest} == {
        ("trip", 9, None),
        ("user", 10, None),
        ("membership", None, None),
    }


async def test_migration_lets_events_be_listed_by_entity_and_by_status(old_store_url: str) -> None:
    store = await Store.open(old_store_url)
    listed = {}
    for name, criteria in {
        "trip": Criteria(entity=TRIP),
        "user": Criteria(entity=USER),
        "fallen": Criteria(entity=FALLEN),
        "dead": Criteria(status=EventStatus.DEAD),
        "superseded": Criteria(status=EventStatus.SUPERSEDED),
        "all": Criteria(),
    }.items():
        page = await store.read_event_page(criteria, None, 200)
        listed[name] = [event.sequence for event in page.events]
    await store.close()
    assert listed == {
        "trip": [9, 6, 3],
        "user": [10, 5],
        "fallen": [],
        "dead": [9],
        "superseded": [10, 6, 3],
        "all": [10, 9, 6, 5, 3],
    }


async def test_migration_keeps_the_audit_of_replays(old_store_url: str, engine: Engine) -> None:
    store = await Store.open(old_store_url)
    page = await store.read_replay_page(None, 10)
    # One that was under way could not go on, and is not begun again by itself.
    assert await store.find_running_replay() is None
    kept = [
        (each.replay_id, each.requested_at, each.requested_by, each.criteria)
        for each in page.replays
    ]
    assert kept == [values[:4] for values in sorted(REPLAYS, key=lambda row: -row[1])]
    statuses = {each.replay_id: each.status for each in page.replays}
    assert statuses == {
        "r-completed": ReplayStatus.COMPLETED,
        "r-failed": ReplayStatus.FAILED,
        "r-running": ReplayStatus.FAILED,
    }
    found = await look_at(store, ReplayId("r-failed"))
    assert (found.matches.events, found.matches.entities, found.marked) == (7, 5, 5)
    # And what is asked for now goes on from there.
    ended = await replay(store, now=Instant(NOW))
    assert (ended.status, ended.marked) == (ReplayStatus.COMPLETED, 3)
    assert ended.number > max(each.number for each in page.replays)
    with engine.connect() as connection:
        assert len(connection.execute(select(replays)).all()) == 4
    await store.close()


async def test_migration_takes_over_what_may_still_land(store_url: str, engine: Engine) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating._SCRIPTS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        fill(connection)
        command.upgrade(config, "0004")
        for ref, until in ((TRIP, 7), (USER, 7), (FALLEN, 9)):
            connection.execute(
                text("UPDATE entities SET in_flight_until = :until WHERE key = :key"),
                {"until": NOW + until, "key": ref.key},
            )
        connection.commit()
    store = await Store.open(store_url)
    assert await store.read_next_due() == 1
    assert await store.end_flights(Instant(NOW + 6)) == 0
    assert await store.end_flights(Instant(NOW + 7)) == 2
    assert await store.end_flights(Instant(NOW + 9)) == 1
    picked = await pick_pending(store, Instant(NOW + 9), 10)
    assert {each.ref for each in picked} == {TRIP, USER, FALLEN}
    await store.close()


async def test_migration_lets_a_users_memberships_be_found(
    old_store_url: str, engine: Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE entities SET user_id = :user, occurred_at = 0 WHERE key = :key"),
            {"user": USER.key, "key": FALLEN.key},
        )
    store = await Store.open(old_store_url)
    removal = make_event("user.deleted", {"id": USER.key})
    await store.store_events([removal], NOW)
    picked = {each.ref: each.row for each in await pick_pending(store, NOW, 10)}
    assert picked[USER] is None
    assert picked[FALLEN] is None
    await store.close()
