"""From due entities to writes, in an order that foreign keys and locks can live with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from app.domain.entities import Kind, PendingEntity, split_membership_key

# Beyond 500 rows PostgREST gains little, and a refusal costs more requests to split.
MAXIMUM_ROWS: Final = 500
# Proxies in front of PostgREST commonly refuse request lines past 8 KiB.
MAXIMUM_FILTER_BYTES: Final = 5500


class Action(StrEnum):
    """What one request does."""

    UPSERT = "upsert"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Write:
    """One request: some entities of one kind, all upserted or all removed, sorted by key."""

    kind: Kind
    action: Action
    entities: tuple[PendingEntity, ...]

    def split(self) -> "tuple[Write, Write]":
        """Halve it, to find the entity that is refused."""
        middle = len(self.entities) // 2
        return (
            Write(self.kind, self.action, self.entities[:middle]),
            Write(self.kind, self.action, self.entities[middle:]),
        )


# Children are removed before their parents and written after them.
_ORDER: Final = (
    (Kind.MEMBERSHIP, Action.REMOVE),
    (Kind.USER, Action.UPSERT),
    (Kind.TRIP, Action.UPSERT),
    (Kind.MEMBERSHIP, Action.UPSERT),
    (Kind.TRIP, Action.REMOVE),
    (Kind.USER, Action.REMOVE),
)


def plan_batch(entities: Iterable[PendingEntity]) -> list[Write]:
    """Arrange entities into writes.

    Sorted by key, so that two writers of the same rows lock them in the same order. The same key
    cannot stand twice: an entity is picked once.
    """
    groups: dict[tuple[Kind, Action], list[PendingEntity]] = {step: [] for step in _ORDER}
    for entity in entities:
        action = Action.REMOVE if entity.row is None else Action.UPSERT
        groups[entity.ref.kind, action].append(entity)
    return [
        Write(kind, action, chunk)
        for kind, action in _ORDER
        for chunk in _chunk(action, sorted(groups[kind, action], key=lambda entity: entity.ref.key))
    ]


def _chunk(action: Action, entities: Sequence[PendingEntity]) -> list[tuple[PendingEntity, ...]]:
    chunks: list[tuple[PendingEntity, ...]] = []
    current: list[PendingEntity] = []
    size = 0
    for entity in entities:
        # Every removal is named in the URL: with its trip, a membership takes at most twice 36
        # characters and the operators around them.
        cost = len(entity.ref.key) + 50 if action is Action.REMOVE else 0
        if current and (len(current) == MAXIMUM_ROWS or size + cost > MAXIMUM_FILTER_BYTES):
            chunks.append(tuple(current))
            current, size = [], 0
        current.append(entity)
        size += cost
    if current:
        chunks.append(tuple(current))
    return chunks


def write_filter(write: Write) -> tuple[str, str]:
    """Give the PostgREST query parameter that names the rows of a removal.

    Source: https://docs.postgrest.org/en/stable/references/api/tables_views.html
    """
    if write.kind is not Kind.MEMBERSHIP:
        return "id", f"in.({','.join(entity.ref.key for entity in write.entities)})"
    pairs = [split_membership_key(entity.ref.key) for entity in write.entities]
    by_trip = (
        f"and(trip_id.eq.{trip_id},user_id.in.({','.join(user_id for _, user_id in group)}))"
        for trip_id, group in groupby(pairs, key=lambda pair: pair[0])
    )
    return "or", f"({','.join(by_trip)})"
