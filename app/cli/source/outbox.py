"""The backend's outbox: events that the relay has not received yet."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg

from app.cli.source.snapshot import Snapshot
from app.domain.entities import EntityKey, EntityRef, Kind, membership_key

_POLL_SECONDS: Final = 1.0
_FETCHED_ROWS: Final = 2000

Connect = Callable[[], AbstractContextManager[psycopg.Connection[Any]]]


@dataclass(frozen=True, slots=True)
class Outbox:
    """The unsent rows of `relay_outbox` at the time of a snapshot.

    Attributes:
        exists: whether the database has this table.
        last_id: of the rows at that time.
    """

    exists: bool
    last_id: int = 0

    @classmethod
    def find(cls, connection: psycopg.Connection[Any]) -> Self:
        """Look for the outbox, in the transaction of the snapshot."""
        found = connection.execute("select to_regclass('relay_outbox') is not null").fetchone()
        if found is None or not found[0]:
            return cls(exists=False)
        newest = connection.execute("select coalesce(max(id), 0) from relay_outbox").fetchone()
        return cls(exists=True, last_id=newest[0] if newest else 0)

    def wait(
        self,
        connect: Connect,
        *,
        seconds: float,
        report_wait: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Wait until the rows are sent, except parked ones: those wait for a person.

        Args:
            report_wait: receives the number of rows that are not sent yet.
        """
        deadline = clock() + seconds
        with connect() as connection:
            connection.autocommit = True  # each look sees the latest commits
            while waiting := self._count_waiting(connection):
                if clock() >= deadline:
                    return
                report_wait(waiting)
                pause(_POLL_SECONDS)

    def _count_waiting(self, connection: psycopg.Connection[Any]) -> int:
        found = connection.execute(
            "select count(*) from relay_outbox where id <= %s and parked_at is null",
            (self.last_id,),
        ).fetchone()
        return int(found[0]) if found else 0

    def exclude_unsent(self, connect: Connect, snapshot: Snapshot) -> int:
        """Exclude the entities of the rows that are still not sent; return the number of rows."""
        count = 0
        with connect() as connection, connection.cursor("unsent") as cursor:
            cursor.itersize = _FETCHED_ROWS
            cursor.execute(
                "select type, data->>'id', data->>'trip_id', data->>'user_id'"
                " from relay_outbox where id <= %s",
                (self.last_id,),
            )
            for event_type, entity_id, trip_id, user_id in cursor:
                count += 1
                kind, _, _ = event_type.partition(".")
                if kind == Kind.MEMBERSHIP and trip_id and user_id:
                    key = membership_key(trip_id.lower(), user_id.lower())
                    snapshot.add_unsent(EntityRef(Kind.MEMBERSHIP, key))
                elif kind in (Kind.USER, Kind.TRIP) and entity_id:
                    snapshot.add_unsent(EntityRef(Kind(kind), EntityKey(entity_id.lower())))
        return count
