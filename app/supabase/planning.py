"""From due entities to writes, in an order that foreign keys and locks can live with."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Final
from urllib.parse import quote

from app.domain.entities import Kind, PendingEntity, split_membership_key
from app.domain.failures import Failure
from app.supabase.errors import NOT_NULL_VIOLATION
from app.supabase.targets import Inactive, Target, Targets

# Beyond 500 rows PostgREST gains little, and a refusal costs more requests to split.
MAXIMUM_ROWS: Final = 500
# Proxies in front of PostgREST commonly refuse request lines past 8 KiB.
MAXIMUM_FILTER_BYTES: Final = 5500
# A removal's operators, and names of columns that are as long as `trip_id` and `user_id`.
_FILTER_ENTITY_BYTES: Final = 50
_FILTER_NAMES_BYTES: Final = len("trip_iduser_id")


class Action(StrEnum):
    """What one request does."""

    UPSERT = "upsert"
    UPDATE = "update"
    """Write one row if it is there: where a new row would lack what it must not."""
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Write:
    """One request: some entities of one kind, all treated alike, sorted by key.

    Attributes:
        target: where to.
        action: what is done; an update is of one entity.
        entities: at least one.
        extra: the fields beside the contract that every row has, of those that the target knows.
    """

    target: Target
    action: Action
    entities: tuple[PendingEntity, ...]
    extra: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """What is written."""
        return self.target.kind

    @property
    def missing(self) -> tuple[str, ...]:
        """The fields beside the contract that the rows lack."""
        return tuple(name for name in self.target.extra if name not in self.extra)

    def break_up(self, failure: Failure) -> "tuple[Write, ...]":
        """Give what to try instead of what was refused; nothing where nothing is left to try.

        An upsert without a column that must not be null is refused even if its row is there, as
        PostgreSQL checks that first. So each row is then updated by itself.
        """
        lacks_column = failure.code == NOT_NULL_VIOLATION and failure.field in self.missing
        if self.action is Action.UPSERT and lacks_column:
            return tuple(
                replace(self, action=Action.UPDATE, entities=(entity,)) for entity in self.entities
            )
        return self.split() if len(self.entities) > 1 else ()

    def split(self) -> "tuple[Write, Write]":
        """Halve it, to find the entity that is refused."""
        middle = len(self.entities) // 2
        return (
            replace(self, entities=self.entities[:middle]),
            replace(self, entities=self.entities[middle:]),
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


def plan_batch(entities: Iterable[PendingEntity], targets: Targets) -> list[Write]:
    """Arrange entities into writes.

    Sorted by key, so that two writers of the same rows lock them in the same order. The same key
    cannot stand twice: an entity is picked once.
    """
    groups: dict[tuple[Kind, Action], list[PendingEntity]] = {step: [] for step in _ORDER}
    for entity in entities:
        kind = entity.ref.kind
        groups[kind, _choose_action(entity, targets[kind])].append(entity)
    return [
        Write(targets[kind], action, chunk, extra)
        for kind, action in _ORDER
        for extra, alike in _group_by_extra(action, groups[kind, action], targets[kind])
        for chunk in _chunk(action, sorted(alike, key=attrgetter("ref.key")), targets[kind])
    ]


def _choose_action(entity: PendingEntity, target: Target) -> Action:
    # Of a membership whose row stands, a version that takes access away is one of another status
    # than ACTIVE.
    is_unwanted = target.inactive is Inactive.REMOVE and entity.version.is_removal
    return Action.REMOVE if entity.row is None or is_unwanted else Action.UPSERT


def _group_by_extra(
    action: Action, entities: list[PendingEntity], target: Target
) -> Iterator[tuple[tuple[str, ...], list[PendingEntity]]]:
    """Keep rows of different columns apart: the rows of one request all have the same."""
    if action is Action.REMOVE or not target.extra:
        yield (), entities
        return
    groups: dict[tuple[str, ...], list[PendingEntity]] = {}
    for entity in entities:
        row = json.loads(entity.row or "{}")
        present = tuple(name for name in target.extra if name in row)
        groups.setdefault(present, []).append(entity)
    yield from sorted(groups.items())


def _chunk(
    action: Action, entities: Sequence[PendingEntity], target: Target
) -> list[tuple[PendingEntity, ...]]:
    chunks: list[tuple[PendingEntity, ...]] = []
    current: list[PendingEntity] = []
    size = 0
    names_bytes = len(quote("".join(target.key_columns)))
    overhead = _FILTER_ENTITY_BYTES + max(0, names_bytes - _FILTER_NAMES_BYTES)
    for entity in entities:
        # Every removal is named in the URL: with its trip, a membership takes at most twice 36
        # characters and the names and operators around them.
        cost = len(entity.ref.key) + overhead if action is Action.REMOVE else 0
        if current and (len(current) == MAXIMUM_ROWS or size + cost > MAXIMUM_FILTER_BYTES):
            chunks.append(tuple(current))
            current, size = [], 0
        current.append(entity)
        size += cost
    if current:
        chunks.append(tuple(current))
    return chunks


def write_filter(write: Write) -> tuple[str, str]:
    """Give the PostgREST query parameter that names the rows of a removal or an update.

    Source: https://docs.postgrest.org/en/stable/references/api/tables_views.html
    """
    columns = write.target.key_columns
    if write.kind is not Kind.MEMBERSHIP:
        return columns[0], f"in.({','.join(entity.ref.key for entity in write.entities)})"
    trip, user = columns
    pairs = [split_membership_key(entity.ref.key) for entity in write.entities]
    by_trip = (
        f"and({trip}.eq.{trip_id},{user}.in.({','.join(user_id for _, user_id in group)}))"
        for trip_id, group in groupby(pairs, key=lambda pair: pair[0])
    )
    return "or", f"({','.join(by_trip)})"
