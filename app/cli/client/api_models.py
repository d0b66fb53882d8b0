"""What a relay answers to an operator, as far as the command shows it."""

from datetime import datetime

from pydantic import BaseModel


class EntityAnswer(BaseModel):
    """The entity that an event moved, as it stands now."""

    kind: str
    key: str
    state: str
    is_removed: bool
    desired_version_at: datetime
    applied_at: datetime | None
    pending_since: datetime | None
    attempts: int
    next_attempt_at: datetime | None
    last_error_code: str | None
    last_error: str | None

    @property
    def error(self) -> str:
        """The last error in a line; empty where there is none."""
        return ": ".join(part for part in (self.last_error_code, self.last_error) if part)


class EventAnswer(BaseModel):
    """One event and what became of it."""

    event_id: str
    type: str
    status: str
    timestamp: datetime
    received_at: datetime
    entity: EntityAnswer

    @property
    def error(self) -> str:
        """What is wrong with it; empty where nothing is, also where a later event failed."""
        return self.entity.error if self.status in ("pending", "dead") else ""


class ReplayMatch(BaseModel):
    """What a replay is about to write again."""

    replay_id: str | None
    matched_events: int
    entities: int
    status: str


class ReplayAnswer(BaseModel):
    """One replay and how far it is."""

    replay_id: str
    requested_at: datetime
    requested_by: str | None
    filter: dict[str, object]
    status: str
    matched_events: int
    entities: int
    marked: int
    applied: int
    dead: int
    superseded: int
    waiting: int

    @property
    def is_settled(self) -> bool:
        """Whether nothing of it is still to be marked or to be written."""
        return self.status != "running" and (self.status == "failed" or self.waiting == 0)


class EventPage(BaseModel):
    """A page of events, each as it came."""

    events: list[dict[str, object]]
    next_cursor: str | None


class ReplayPage(BaseModel):
    """A page of replays, each as it came."""

    replays: list[dict[str, object]]
    next_cursor: str | None
