"""Which events are meant: what a replay and a listing of events are asked for."""

import json
from dataclasses import dataclass
from typing import Any

from app.domain.entities import EntityKey, EntityRef, EventStatus, Kind
from app.domain.events import EventId, EventType
from app.domain.history import StoredEvent
from app.domain.instants import Instant


@dataclass(frozen=True, slots=True)
class Criteria:
    """Every criterion that is given must be met; without any, everything is meant.

    Attributes:
        event_ids: these events.
        since: received then or later.
        until: received before then.
        types: of one of these types.
        entity: events of this entity.
        status: events that stand there now.
    """

    event_ids: tuple[EventId, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None
    types: tuple[EventType, ...] | None = None
    entity: EntityRef | None = None
    status: EventStatus | None = None

    @property
    def is_about_events(self) -> bool:
        """Whether the events have to be looked at, and not only where the entities stand."""
        return any(given is not None for given in (self.since, self.until, self.types))

    def matches(self, event: StoredEvent) -> bool:
        """Tell whether an event meets the criteria other than ids."""
        return (
            (self.since is None or event.received_at >= self.since)
            and (self.until is None or event.received_at < self.until)
            and (self.types is None or event.type in self.types)
            and (self.entity is None or event.entity.ref == self.entity)
            and (self.status is None or event.status is self.status)
        )


def write_criteria(criteria: Criteria) -> str:
    """Give the criteria as JSON: for the audit, and to go on with after a restart."""
    given: dict[str, Any] = {
        "event_ids": criteria.event_ids,
        "since": criteria.since,
        "until": criteria.until,
        "types": criteria.types,
        "entity": criteria.entity,
        "status": criteria.status,
    }
    return json.dumps({name: value for name, value in given.items() if value is not None})


def read_criteria(text: str) -> Criteria:
    """Read what `write_criteria` has written."""
    given = json.loads(text)
    kind_and_key = given.get("entity")
    return Criteria(
        event_ids=_read_tuple(given.get("event_ids"), EventId),
        since=given.get("since"),
        until=given.get("until"),
        types=_read_tuple(given.get("types"), EventType),
        entity=kind_and_key and EntityRef(Kind(kind_and_key[0]), EntityKey(kind_and_key[1])),
        status=None if given.get("status") is None else EventStatus(given["status"]),
    )


def _read_tuple(values: Any, make: Any) -> Any:
    return None if values is None else tuple(make(value) for value in values)
