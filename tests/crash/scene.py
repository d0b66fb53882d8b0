"""Backend, relay and Supabase together, and the checks once nothing is pending."""

import json
import random
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.domain.entities import EntityKey, EntityRef, Kind
from app.domain.events import Event
from app.domain.instants import Instant
from tests.crash.backend import Backend, Delivery
from tests.crash.process import CrashingRelay
from tests.crash.supabase import serve_postgrest
from tests.fake_postgrest import FakePostgrest, Row
from tests.histories import READER, find_desired_rows, ref_of

_TABLES: Final = {Kind.USER: "users", Kind.TRIP: "trips", Kind.MEMBERSHIP: "trip_memberships"}
_LONGEST_PAUSE_SECONDS: Final = 0.004
# The relay has judged what is too far ahead; here everything may have happened.
_LATER: Final = Instant(1 << 62)


@dataclass(frozen=True)
class Scene:
    """One backend, one relay with its store, one Supabase."""

    backend: Backend
    relay: CrashingRelay
    supabase: FakePostgrest

    def read_stored_ids(self) -> list[str]:
        """Give the ids of the events that the store holds, in the order of receipt."""
        # From a copy: opening the file of a dead relay would recover it.
        with tempfile.TemporaryDirectory() as folder:
            for path in self.relay.folder.glob("relay.db*"):
                shutil.copy(path, folder)
            return _read_ids(Path(folder) / "relay.db")

    def settle(self, *, refused: Collection[EntityRef] = ()) -> None:
        """Wait until nothing is pending and check that Supabase holds what it must.

        Args:
            refused: the entities that Supabase rejects; all others must exist.
        """
        self._complete_parents()
        self.relay.await_settled()
        assert not self.backend.surprises, self.backend.surprises
        arrived = self._read_arrived()
        missing = self.backend.acknowledged - {event.event_id for event in arrived}
        assert not missing, f"acknowledged and lost: {missing}"
        desired = find_desired_rows(arrived)
        for kind, table in _TABLES.items():
            wanted = [
                json.loads(row)
                for ref, row in sorted(desired.items())
                if ref.kind is kind and row is not None and ref not in refused
            ]
            assert self.supabase.rows(table) == wanted, self._explain(table, wanted)
        dead = self.relay.health()["backlog"]["dead"]
        assert dead == len(refused), f"{dead} are dead, not {len(refused)}: {self.relay.log}"

    def _complete_parents(self) -> None:
        """Have the backend create the missing parents of stored memberships.

        Those memberships would stay pending.
        """
        desired = find_desired_rows(self._read_arrived())
        orphaned = {
            parent
            for ref, row in desired.items()
            if ref.kind is Kind.MEMBERSHIP and row is not None
            for parent in _parents_of(ref)
            if desired.get(parent) is None
        }
        parents = [self.backend.make_parent(*parent) for parent in sorted(orphaned)]
        self.backend.deliver(self.relay, parents)
        assert self.backend.acknowledged.issuperset(parent.event_id for parent in parents)

    def _read_arrived(self) -> list[Event]:
        """Read what was sent, not what is stored of it, in the order in which it is stored."""
        return [
            READER.read_event(event_id, self.backend.sent[event_id].body, now=_LATER)
            for event_id in self._read_ids()
        ]

    def _read_ids(self) -> list[str]:
        return _read_ids(self.relay.database)

    def _explain(self, table: str, wanted: list[Row]) -> str:
        held = self.supabase.rows(table)
        return (
            f"{table} lacks {[row for row in wanted if row not in held]}"
            f" and must not hold {[row for row in held if row not in wanted]}: {self.relay.log}"
        )


@contextmanager
def open_scene(folder: Path, seed: int) -> Iterator[Scene]:
    """Create a scene in an empty folder; the relay is not started, and ends with the block."""
    # Separate randomness: the order of requests varies and must not change the history.
    pauses = random.Random(seed)  # noqa: S311 - pauses, not secrets
    supabase = FakePostgrest(has_foreign_keys=True)
    with serve_postgrest(supabase, lambda: pauses.uniform(0, _LONGEST_PAUSE_SECONDS)) as url:
        settings = {"SUPABASE_URL": url, "SUPABASE_SECRET_KEY": "sb_secret_of_a_fake"}
        relay = CrashingRelay(settings, folder)
        try:
            yield Scene(Backend(random.Random(seed)), relay, supabase)  # noqa: S311
        finally:
            if relay.process is not None:
                relay.stop(signal.SIGKILL)


def ref_of_delivery(delivery: Delivery) -> EntityRef:
    """Name the entity of an event that is sent."""
    return ref_of(READER.read_event(delivery.event_id, delivery.body, now=_LATER))


def _read_ids(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT event_id FROM events ORDER BY sequence").fetchall()
    return [event_id for (event_id,) in rows]


def _parents_of(membership: EntityRef) -> tuple[EntityRef, EntityRef]:
    trip_id, _, user_id = membership.key.partition("/")
    return EntityRef(Kind.TRIP, EntityKey(trip_id)), EntityRef(Kind.USER, EntityKey(user_id))
