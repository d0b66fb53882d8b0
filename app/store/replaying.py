"""Marking entities to be written again, and the record of who asked for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, insert, select, tuple_, update

from app.domain.entities import EntityKey, EntityRef, EntityState, Kind
from app.domain.events import EventId
from app.domain.history import Replay, StoredEvent
from app.domain.instants import Instant
from app.store import statements
from app.store.group_commit import WriteSession
from app.store.looking_up import find_events
from app.store.schema import entities, events, replays

_IDS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class EntityPage:
    """Some entities in the order of kind and key.

    Attributes:
        refs: fewer than asked for on the last page.
        matched_events: how many events brought them into the selection.
    """

    refs: tuple[EntityRef, ...]
    matched_events: int


def find_events_by_ids(
    connection: Connection, event_ids: Sequence[EventId]
) -> dict[EventId, StoredEvent]:
    """Read the events that are stored under these ids."""
    found: dict[EventId, StoredEvent] = {}
    for start in range(0, len(event_ids), _IDS_PER_QUERY):
        chunk = event_ids[start : start + _IDS_PER_QUERY]
        found |= {event.event_id: event for event in find_events(connection, chunk)}
    return found


def read_entity_page(
    connection: Connection, state: EntityState | None, after: EntityRef | None, limit: int
) -> EntityPage:
    """Read the entities in a state (None: all) that come after one, at most `limit`.

    With a state, an event counts as matched when it is the one that its entity stands at; a
    membership that fell with its trip is selected without any event of its own.
    """
    belongs = and_(events.c.kind == entities.c.kind, events.c.key == entities.c.key)
    if state is not None:
        belongs = and_(belongs, events.c.sequence == entities.c.sequence)
    statement = (
        select(entities.c.kind, entities.c.key, func.count(events.c.sequence).label("matched"))
        .select_from(entities.outerjoin(events, belongs))
        .group_by(entities.c.kind, entities.c.key)
        .order_by(entities.c.kind, entities.c.key)
        .limit(limit)
    )
    if state is not None:
        statement = statement.where(entities.c.state == state)
    if after is not None:
        statement = statement.where(
            tuple_(entities.c.kind, entities.c.key) > tuple_(after.kind.value, after.key)
        )
    rows = connection.execute(statement).all()
    return EntityPage(
        refs=tuple(EntityRef(Kind(row.kind), EntityKey(row.key)) for row in rows),
        matched_events=sum(row.matched for row in rows),
    )


def mark_for_replay(session: WriteSession, refs: Sequence[EntityRef], now: Instant) -> None:
    """Have entities written again as they are desired now; versions and rows stay."""
    session.cursor.executemany(
        statements.MARK_FOR_REPLAY,
        [{"kind": ref.kind, "key": ref.key, "now": now} for ref in refs],
    )


def begin_replay(
    session: WriteSession, replay: Replay, *, requested_by: str | None, criteria: str, now: Instant
) -> None:
    """Note who has what replayed, and when, before anything is marked."""
    session.connection.execute(
        insert(replays).values(
            replay_id=replay.replay_id,
            requested_at=now,
            requested_by=requested_by,
            filter=criteria,
            status=replay.status,
            matched_events=replay.matched_events,
            entities=replay.entities,
        )
    )


def end_replay(session: WriteSession, replay: Replay) -> None:
    """Note how a replay ended."""
    session.connection.execute(
        update(replays)
        .where(replays.c.replay_id == replay.replay_id)
        .values(
            status=replay.status, matched_events=replay.matched_events, entities=replay.entities
        )
    )
