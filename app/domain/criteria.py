"""Criteria that select events, for a replay or a listing."""

import json
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from app.domain.entities import EntityRef, EventStatus
from app.domain.events import EventId, EventType
from app.domain.instants import Instant


@dataclass(frozen=True, slots=True)
class Criteria:
    """An event must meet every criterion that is not None.

    Attributes:
        since: inclusive, of the time of receipt.
        until: exclusive, of the time of receipt.
        error_code: of the error that keeps the event from being applied.
        error: its message, exactly.
    """

    event_ids: tuple[EventId, ...] | None = None
    since: Instant | None = None
    until: Instant | None = None
    types: tuple[EventType, ...] | None = None
    entity: EntityRef | None = None
    status: EventStatus | None = None
    error_code: str | None = None
    error: str | None = None

    @property
    def needs_event_scan(self) -> bool:
        """Whether the state of the entities alone cannot decide."""
        of_events = (self.event_ids, self.since, self.until, self.types)
        return any(given is not None for given in of_events)

    @property
    def has_error(self) -> bool:
        """Whether the events of certain errors are wanted: pending and dead ones."""
        return self.error_code is not None or self.error is not None


_SCHEMA: Final = TypeAdapter(Criteria)


def write_criteria(criteria: Criteria) -> str:
    """Write criteria as JSON, for the audit and to resume after a restart."""
    return json.dumps(_SCHEMA.dump_python(criteria, mode="json", exclude_none=True))


def read_criteria(text: str) -> Criteria:
    """Read criteria that `write_criteria` wrote."""
    return _SCHEMA.validate_json(text)
