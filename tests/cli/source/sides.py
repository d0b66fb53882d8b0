"""Rows of a source and entities of a relay, made by hand."""

from collections.abc import Iterable
from typing import Final

from app.cli.client.desired_state import EntityAnswer
from app.cli.source.comparison import Comparison, Counts
from app.cli.source.differences import Differences
from app.cli.source.snapshot import Snapshot
from app.domain.drift import Difference
from app.domain.entities import EntityKey, EntityRef, Kind, membership_key
from app.domain.event_reader import EventReader
from app.domain.instants import Instant, after, parse_timestamp
from app.domain.row_digests import digest_row

AT: Final = parse_timestamp("2026-01-02T03:00:00Z")
EARLIER: Final = after(AT, -60)
ROLES: Final = ("OWNER", "ADMIN", "MEMBER")
STATUSES: Final = ("ACTIVE", "INACTIVE")
READER: Final = EventReader(roles=ROLES, statuses=STATUSES)

ANA, BEN, CAT = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
TRIP, OLD_TRIP = (f"00000000-0000-4000-9000-00000000000{number}" for number in (1, 2))

Row = dict[str, str]


def user(user_id: str = ANA, name: str = "ana") -> Row:
    return {"id": user_id, "email": f"{name}@example.com", "username": name}


def trip(trip_id: str = TRIP, name: str = "Lisbon") -> Row:
    return {"id": trip_id, "name": name, "created_by": ANA}


def member(
    user_id: str = ANA, trip_id: str = TRIP, *, role: str = "MEMBER", status: str = "ACTIVE"
) -> Row:
    return {"trip_id": trip_id, "user_id": user_id, "role": role, "status": status}


def kind_of(row: Row) -> Kind:
    if "trip_id" in row:
        return Kind.MEMBERSHIP
    return Kind.USER if "email" in row else Kind.TRIP


def ref_of(row: Row) -> EntityRef:
    kind = kind_of(row)
    if kind is Kind.MEMBERSHIP:
        return EntityRef(kind, membership_key(row["trip_id"], row["user_id"]))
    return EntityRef(kind, EntityKey(row["id"]))


def held(row: Row, *, at: Instant = EARLIER) -> tuple[EntityRef, EntityAnswer]:
    """An entity whose row the relay holds, since a minute before the snapshot."""
    ref = ref_of(row)
    digest = digest_row(ref.kind, row)
    return ref, EntityAnswer.model_construct(
        key=ref.key, version_at=at, is_removed=False, digest=digest
    )


def removed(row: Row, *, at: Instant = EARLIER) -> tuple[EntityRef, EntityAnswer]:
    """An entity that the relay holds a tombstone of."""
    ref = ref_of(row)
    return ref, EntityAnswer.model_construct(
        key=ref.key, version_at=at, is_removed=True, digest=None
    )


def fill(snapshot: Snapshot, rows: Iterable[Row]) -> Snapshot:
    """Add rows to a snapshot of the usual time."""
    snapshot.at = AT
    for row in rows:
        assert snapshot.add_row(kind_of(row), row, row)
    return snapshot


def compare(
    snapshot: Snapshot,
    differences: Differences,
    entities: Iterable[tuple[EntityRef, EntityAnswer]],
) -> tuple[Counts, list[Difference]]:
    """Compare a snapshot with the entities of a relay."""
    sorted_entities = sorted(entities)

    def read_entities(kind: Kind) -> list[EntityAnswer]:
        return [entity for ref, entity in sorted_entities if ref.kind is kind]

    counts = Comparison(snapshot, read_entities, ROLES, STATUSES).run(differences)
    return counts, list(differences.read_all())
