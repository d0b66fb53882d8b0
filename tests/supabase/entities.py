"""Entities for tests."""

import json
import uuid

from app.domain.entities import (
    EntityKey,
    EntityRef,
    Kind,
    PendingEntity,
    RowText,
    Version,
    membership_key,
)
from app.domain.instants import Instant
from app.supabase.targets import MINIMAL_TARGETS


def make_id(number: int) -> str:
    """Make a UUID; numbers and ids sort alike."""
    return str(uuid.UUID(int=number))


def make_entity(
    kind: Kind, number: int, *, is_removed: bool = False, parent: int = 0, **fields: object
) -> PendingEntity:
    """Make an entity that has never failed.

    Args:
        kind: which.
        number: of its id; of a membership's user.
        is_removed: whether Supabase should hold no row of it.
        parent: number of a membership's trip.
        fields: of its row, in place of made-up ones or beside them.
    """
    key = EntityKey(make_id(number))
    ids = {"id": make_id(number)}
    if kind is Kind.MEMBERSHIP:
        key = membership_key(make_id(parent), make_id(number))
        ids = {"trip_id": make_id(parent), "user_id": make_id(number)}
    row = {name: ids.get(name, "é") for name in MINIMAL_TARGETS[kind].columns} | fields
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return PendingEntity(
        ref=EntityRef(kind, key),
        version=Version(Instant(0), is_removed, 1),
        row=None if is_removed else RowText(text),
        revision=1,
        attempts=0,
        waiting_since=None,
        pending_since=Instant(0),
    )
