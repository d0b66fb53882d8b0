"""Criteria that select events, for a replay or a listing."""

import json
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from app.domain.entities import EntityRef, EventStatus
from app.domain.events import EventId, EventType
from app.domain.history import StoredEvent
from app.domain.instants import Instant


@dataclass(frozen=True, slots=True)
class Criteria:
    """An event must meet every criterion that is not None.

    Attributes:
        since: inclusive, of the time of receipt.
        until: exclusive, of the time of receipt.
    """

    event_ids: tuple[EventId, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None
    types: tuple[EventType, ...] | None = None
    entity: EntityRef | None = None
    status: EventStatus | None = None

    @property
    def needs_event_scan(self) -> bool:
        """Whether the state of the entities alone cannot decide."""
        return any(given is not None for given in (self.since, self.until, self.types))

    def matches(self, event: StoredEvent) -> bool:
        """Tell whether an event meets the criteria other than `event_ids`."""
        return (
            (self.since is None or event.received_at >= self.since)
            and (self.until is None or event.received_at < self.until)
            and (self.types is None or event.type in self.types)
            and (self.entity is None or event.entity.ref == self.entity)
            and (self.status is None or event.status is self.status)
        )


_SCHEMA: Final = TypeAdapter(Criteria)


def write_criteria(criteria: Criteria) -> str:
    """Write criteria as JSON, for the audit and to resume after a restart."""
    return json.dumps(_SCHEMA.dump_python(criteria, mode="json", exclude_none=True))


def read_criteria(text: str) -> Criteria:
    """Read criteria that `write_criteria` wrote."""
    return _SCHEMA.validate_json(text)
