"""Repairing the desired state: each difference becomes an event as of the snapshot."""

import json
from collections.abc import Iterator
from typing import Final

from app.cli.client.batches import BatchSender, LineResult
from app.cli.client.ndjson import EventLine, gather_batches
from app.cli.source.differences import Differences
from app.cli.source.snapshot import Snapshot
from app.domain.drift import Difference, DifferenceKind, Effect, Repair
from app.domain.entities import Kind, split_membership_key
from app.domain.instants import to_datetime

_LEAKS: Final = (Effect.LEAKS,)
_NO_LEAKS: Final = (Effect.DENIES, Effect.OTHER)

# What leaks first. The removal of a trip or user also removes its memberships, so it comes after
# theirs. A membership waits for its parents: they are written first.
_ORDER: Final = (
    (Kind.MEMBERSHIP, Repair.DELETE, tuple(Effect)),
    (Kind.MEMBERSHIP, Repair.WRITE, _LEAKS),
    (Kind.TRIP, Repair.DELETE, tuple(Effect)),
    (Kind.USER, Repair.DELETE, tuple(Effect)),
    (Kind.USER, Repair.WRITE, tuple(Effect)),
    (Kind.TRIP, Repair.WRITE, tuple(Effect)),
    (Kind.MEMBERSHIP, Repair.WRITE, _NO_LEAKS),
)
_ACTIONS: Final = {
    DifferenceKind.EXTRA: "deleted",
    DifferenceKind.MISSING: "created",
    DifferenceKind.DIFFERENT: "updated",
}


def send_repairs(
    sender: BatchSender, differences: Differences, snapshot: Snapshot, plan_id: str
) -> Iterator[list[LineResult]]:
    """Send the events of a plan, and yield the results of each batch.

    Raises:
        CommandFailed: the relay rejects every batch, or was unavailable for too long. Some events
            may be stored: the next comparison shows what is left.
    """
    for batch in gather_batches(_make_events(differences, snapshot, plan_id)):
        yield sender.send(batch)


def _make_events(differences: Differences, snapshot: Snapshot, plan_id: str) -> Iterator[EventLine]:
    timestamp = to_datetime(snapshot.at).isoformat().replace("+00:00", "Z")
    number = 0
    for kind, repair, effects in _ORDER:
        for found in differences.read_repairs(kind, repair, effects):
            number += 1
            # The same plan of another snapshot is other events.
            event_id = f"reconcile-{plan_id}-{snapshot.at}-{kind}-{found.ref.key}"
            event = {
                "id": event_id,
                "type": f"{kind}.{_ACTIONS[found.kind]}",
                "timestamp": timestamp,
                "data": _find_data(found, snapshot),
            }
            item = json.dumps(event).encode()
            yield EventLine(number, item, event_id, item)


def _find_data(found: Difference, snapshot: Snapshot) -> object:
    if found.kind is not DifferenceKind.EXTRA:
        return json.loads(snapshot.find_data(found.ref) or "null")
    if found.ref.kind is not Kind.MEMBERSHIP:
        return {"id": found.ref.key}
    trip_id, user_id = split_membership_key(found.ref.key)
    return {"trip_id": trip_id, "user_id": user_id}
