"""Unique values that move between rows: who must let go of one before another can have it."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from app.domain.documents import write_row
from app.domain.entities import Kind, PendingEntity
from app.domain.failures import Failure

WriteAlone = Callable[[PendingEntity], Awaitable[Failure | None]]
"""Writes one entity; None when Supabase holds it."""


async def settle_contested(
    entities: Sequence[PendingEntity], write_alone: WriteAlone
) -> tuple[list[PendingEntity], list[tuple[PendingEntity, Failure]]]:
    """Write entities of one kind that want values which others hold, in an order that works.

    A chain (one wants what another is about to let go) is settled by trying again as long as
    somebody gets through. In a circle nobody does: one of them is first written with a placeholder
    made from its id, which frees what it holds.

    Returns:
        Those that Supabase holds now, and those that it still refuses.
    """
    applied: list[PendingEntity] = []
    refused: list[tuple[PendingEntity, Failure]] = []
    waiting = list(entities)
    moved_aside: list[PendingEntity] = []
    while waiting:
        refused = []
        for entity in waiting:
            failure = await write_alone(entity)
            if failure is None:
                applied.append(entity)
            else:
                refused.append((entity, failure))
        stuck = [entity for entity, _ in refused]
        if len(stuck) == len(waiting):
            candidate = next((entity for entity in stuck if entity not in moved_aside), None)
            # Alone, it wants what somebody holds who is not waiting: letting go would not help.
            if candidate is None or len(stuck) < 2:
                break
            moved_aside.append(candidate)
            await write_alone(make_placeholder(candidate))
        waiting = stuck
    return applied, refused


def make_placeholder(entity: PendingEntity) -> PendingEntity:
    """Give the entity with values that nobody else can hold; ids and references stay."""
    row = json.loads(entity.row or "{}")
    match entity.ref.kind:
        case Kind.USER:
            row["email"] = f"{entity.ref.key}@placeholder.invalid"
            row["username"] = entity.ref.key
        case Kind.TRIP:
            row["name"] = entity.ref.key
        case Kind.MEMBERSHIP:
            pass
    return replace(entity, row=write_row(row))
