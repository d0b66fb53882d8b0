"""Comparing a snapshot of the source with the relay's desired state."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.cli.client.desired_state import EntityAnswer
from app.cli.source.differences import KINDS, Differences
from app.cli.source.snapshot import Snapshot, SourceRow
from app.domain.drift import Difference, DifferenceKind, Effect, Origin, Repair
from app.domain.entities import EntityKey, EntityRef, Kind, split_membership_key
from app.domain.events import ACTIVE
from app.domain.row_digests import digest_row

ReadEntities = Callable[[Kind], Iterable[EntityAnswer]]

_NO_PARENT: Final = "the source lacks its trip or its user"


@dataclass(slots=True)
class Counts:
    """What was compared.

    Attributes:
        relay_rows: of the desired state, by kind.
        source_rows: of the snapshot, by kind.
        newer: entities that changed after the snapshot, which do not count.
        unsent: entities whose events are not sent yet, which do not count.
    """

    relay_rows: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    source_rows: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    newer: int = 0
    unsent: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Finds what the relay's desired state must become to equal a snapshot.

    Attributes:
        snapshot: of the source.
        read_entities: reads the desired state of a kind, in the order of keys.
        roles: the membership roles of this deployment.
        statuses: the membership statuses of this deployment.
    """

    snapshot: Snapshot
    read_entities: ReadEntities
    roles: Sequence[str]
    statuses: Sequence[str]

    def run(self, differences: Differences) -> Counts:
        """Compare every entity, and add what differs.

        Raises:
            CommandFailed: the relay does not respond.
        """
        counts = Counts()
        for kind in KINDS:
            counts.source_rows[kind] = self.snapshot.count_rows(kind)
            for row, entity in _merge(self.snapshot.read_rows(kind), self.read_entities(kind)):
                if entity is not None and entity.digest is not None:
                    counts.relay_rows[kind] += 1
                self._compare(kind, row, entity, differences, counts)
        return counts

    def _compare(
        self,
        kind: Kind,
        row: SourceRow | None,
        entity: EntityAnswer | None,
        differences: Differences,
        counts: Counts,
    ) -> None:
        wanted = None if row is None else row.digest
        held = None if entity is None else entity.digest
        if wanted == held:
            return
        if entity is not None and entity.version_at > self.snapshot.at:
            counts.newer += 1
            return
        ref = EntityRef(kind, row.key if row is not None else _key_of(entity))
        if self.snapshot.is_unsent(ref):
            counts.unsent += 1
        else:
            differences.add(self._describe(ref, row, entity))

    def _describe(
        self, ref: EntityRef, row: SourceRow | None, entity: EntityAnswer | None
    ) -> Difference:
        held = None if entity is None else entity.digest
        columns: tuple[str, ...] = ()
        grants, should_grant = held is not None, row is not None
        if ref.kind is Kind.MEMBERSHIP:
            found = {} if held is None else self._find_values(ref.key, held)
            # An unknown role or status counts as access.
            grants = held is not None and found.get("status", ACTIVE) == ACTIVE
            should_grant = row is not None and row.status == ACTIVE
            if row is not None and found:
                wanted = {"role": row.role, "status": row.status}
                columns = tuple(name for name in wanted if wanted[name] != found[name])
        effect = Effect.OTHER
        if should_grant and not grants:
            effect = Effect.DENIES
        elif grants and not should_grant and ref.kind is Kind.MEMBERSHIP:
            effect = Effect.LEAKS
        kind, origin, repair, note = DifferenceKind.DIFFERENT, Origin.CHANGED, Repair.WRITE, None
        if row is None:
            kind, repair = DifferenceKind.EXTRA, Repair.DELETE
        elif held is None:
            kind = DifferenceKind.MISSING
            origin = Origin.UNKNOWN_TO_US if entity is None else Origin.REMOVED_BY_US
            # Without them, the membership would be removed with its parent or wait for it.
            if ref.kind is Kind.MEMBERSHIP and not self.snapshot.has_parents(ref.key):
                repair, note = Repair.NONE, _NO_PARENT
        return Difference(ref, kind, effect, origin, columns, repair, note)

    def _find_values(self, key: EntityKey, digest: str) -> Mapping[str, str]:
        """Find a membership's role and status by its digest; nothing if they are unknown here.

        The relay shows digests only, and there are few roles and statuses.
        """
        trip_id, user_id = split_membership_key(key)
        for role in self.roles:
            for status in self.statuses:
                row = {"trip_id": trip_id, "user_id": user_id, "role": role, "status": status}
                if digest_row(Kind.MEMBERSHIP, row) == digest:
                    return row
        return {}


def _merge(
    rows: Iterable[SourceRow], entities: Iterable[EntityAnswer]
) -> Iterator[tuple[SourceRow | None, EntityAnswer | None]]:
    """Pair two sequences by key; both are in the order of their keys."""
    left, right = iter(rows), iter(entities)
    row, entity = next(left, None), next(right, None)
    while row is not None or entity is not None:
        if entity is None or (row is not None and row.key < entity.key):
            yield row, None
            row = next(left, None)
        elif row is None or entity.key < row.key:
            yield None, entity
            entity = next(right, None)
        else:
            yield row, entity
            row, entity = next(left, None), next(right, None)


def _key_of(entity: EntityAnswer | None) -> EntityKey:
    assert entity is not None  # noqa: S101 - one side of a pair is there
    return entity.key
