"""Plans the operations of one request, in an order that respects foreign keys."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final

from app.domain.documents import write_row
from app.domain.entities import Kind, PendingEntity, split_membership_key
from app.supabase.targets import Inactive, Target, Targets

# The first retry may succeed by itself: the other row may be in the same queue.
_CONFLICTS_BEFORE_PLACEHOLDER: Final = 2
_UNIQUE_CONFLICT: Final = "23505"


class Verb(StrEnum):
    """What an operation does to its rows."""

    DELETE = "delete"
    UPSERT = "upsert"
    UPDATE = "update"
    """Write a row only if it exists, because a new row would lack columns."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Rows of one table with the same columns, sorted by key.

    Attributes:
        entities: one for each row.
        rows: JSON objects by column; for a delete, only the key.
        extra: the extra fields of the rows.
        is_placeholder: whether the rows only free unique values for a later operation.
    """

    target: Target
    verb: Verb
    entities: tuple[PendingEntity, ...]
    rows: tuple[str, ...]
    extra: tuple[str, ...] = ()
    is_placeholder: bool = False

    @property
    def missing_columns(self) -> tuple[str, ...]:
        """The columns that a new row needs but these rows lack."""
        extra = self.target.extra
        return tuple(extra[name] for name in extra if name not in self.extra)


# Memberships are deleted before their parents and written after them.
_ORDER: Final = (
    (Kind.MEMBERSHIP, True),
    (Kind.USER, False),
    (Kind.TRIP, False),
    (Kind.MEMBERSHIP, False),
    (Kind.TRIP, True),
    (Kind.USER, True),
)


def plan_request(entities: Iterable[PendingEntity], targets: Targets) -> list[Operation]:
    """Arrange entities into operations.

    Rows are sorted by key, so that all writers lock them in the same order. Only a placeholder
    repeats a key.
    """
    groups: dict[tuple[Kind, bool], list[PendingEntity]] = {step: [] for step in _ORDER}
    for entity in entities:
        groups[entity.ref.kind, is_delete(entity, targets)].append(entity)
    operations: list[Operation] = []
    for (kind, deletes), group in groups.items():
        group.sort(key=attrgetter("ref.key"))
        if not group:
            continue
        if deletes:
            operations.append(_plan_deletes(group, targets[kind]))
        else:
            operations += _plan_writes(group, targets[kind])
    return operations


def is_delete(entity: PendingEntity, targets: Targets) -> bool:
    """Tell whether Supabase should hold no row for an entity."""
    removes_inactive = targets.memberships.inactive is Inactive.REMOVE
    return entity.row is None or (removes_inactive and entity.version.is_removal)


def _plan_deletes(entities: Sequence[PendingEntity], target: Target) -> Operation:
    rows = tuple(_write_key(entity, target) for entity in entities)
    return Operation(target, Verb.DELETE, tuple(entities), rows)


def _plan_writes(entities: Sequence[PendingEntity], target: Target) -> list[Operation]:
    # Entities may swap unique values: placeholders free all of them before any row is written.
    conflicting = [entity for entity in entities if _is_conflicting(entity)]
    placeholders = [
        _plan_group(alike, target, extra, is_placeholder=True)
        for extra, alike in _group_by_extra(conflicting if len(conflicting) > 1 else (), target)
    ]
    writes = [
        _plan_group(alike, target, extra) for extra, alike in _group_by_extra(entities, target)
    ]
    return placeholders + writes


def _plan_group(
    entities: Sequence[PendingEntity],
    target: Target,
    extra: tuple[str, ...],
    *,
    is_placeholder: bool = False,
) -> Operation:
    verb = Verb.UPSERT if len(extra) == len(target.extra) else Verb.UPDATE
    read = _read_placeholder if is_placeholder else _read_fields
    rows = tuple(_write_columns(read(entity), target, extra) for entity in entities)
    return Operation(target, verb, tuple(entities), rows, extra, is_placeholder)


def _group_by_extra(
    entities: Sequence[PendingEntity], target: Target
) -> list[tuple[tuple[str, ...], list[PendingEntity]]]:
    """Group entities by extra fields: the rows of one operation have the same columns."""
    if not target.extra:
        return [((), list(entities))] if entities else []
    groups: dict[tuple[str, ...], list[PendingEntity]] = {}
    for entity in entities:
        fields = _read_fields(entity)
        present = tuple(name for name in target.extra if name in fields)
        groups.setdefault(present, []).append(entity)
    return sorted(groups.items())


def _is_conflicting(entity: PendingEntity) -> bool:
    return (
        entity.last_error_code == _UNIQUE_CONFLICT
        and entity.attempts >= _CONFLICTS_BEFORE_PLACEHOLDER
        and entity.ref.kind is not Kind.MEMBERSHIP
    )


def _read_fields(entity: PendingEntity) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(entity.row or "{}")
    return fields


def _read_placeholder(entity: PendingEntity) -> dict[str, Any]:
    """Return the fields with unique values made from the id; references stay."""
    fields = _read_fields(entity)
    key = entity.ref.key
    if entity.ref.kind is Kind.USER:
        return {**fields, "email": f"{key}@placeholder.invalid", "username": key}
    return {**fields, "name": key}


def _write_key(entity: PendingEntity, target: Target) -> str:
    is_membership = entity.ref.kind is Kind.MEMBERSHIP
    ids = split_membership_key(entity.ref.key) if is_membership else (entity.ref.key,)
    return write_row(dict(zip(target.key_columns, ids, strict=True)))


def _write_columns(fields: dict[str, Any], target: Target, extra: Sequence[str]) -> str:
    # A stored row may hold fields that are no longer configured; only columns are sent.
    return write_row(
        {
            **{column: fields[name] for name, column in target.columns.items()},
            **{column: fields[name] for column, name in target.copy.items()},
            **target.constants,
            **{target.extra[name]: fields[name] for name in extra},
        }
    )
