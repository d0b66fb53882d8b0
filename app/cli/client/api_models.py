"""The relay's responses to an operator, as far as the command shows them."""

from datetime import datetime

from pydantic import BaseModel


class EntityAnswer(BaseModel):
    """The current status of an entity."""

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
    def path(self) -> str:
        """The entity as `--entity` accepts it."""
        return f"{self.kind}/{self.key}"

    @property
    def error(self) -> str:
        """The last error in one line, or an empty text."""
        return ": ".join(part for part in (self.last_error_code, self.last_error) if part)


class EventAnswer(BaseModel):
    """One event and its status."""

    event_id: str
    type: str
    status: str
    timestamp: datetime
    received_at: datetime
    request_id: str | None = None
    trace_id: str | None = None
    entity: EntityAnswer

    @property
    def error(self) -> str:
        """The error that keeps this event from being applied, or an empty text."""
        return self.entity.error if self.status in ("pending", "dead") else ""


class EventPage(BaseModel):
    """A page of events, as JSON documents."""

    events: list[dict[str, object]]
    next_cursor: str | None


class ReplayMatch(BaseModel):
    """The events that a replay matched; a dry run has no id."""

    replay_id: str | None
    matched_events: int
    entities: int
    status: str


class ReplayAnswer(BaseModel):
    """One replay and its progress."""

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
        """Whether no entity of the replay has to be requeued or applied any more."""
        return self.status != "running" and (self.status == "failed" or self.waiting == 0)


class ReplayPage(BaseModel):
    """A page of replays, as JSON documents."""

    replays: list[dict[str, object]]
    next_cursor: str | None


class RevocationAnswer(BaseModel):
    """One revocation and how long it took."""

    trip_id: str
    user_id: str
    occurred_at: datetime
    received_at: datetime
    applied_at: datetime | None
    exposed_seconds: float
    relay_seconds: float


class ExposureSummary(BaseModel):
    """How many revocations there are, and the percentiles of how long they took."""

    revocations: int
    unapplied: int
    p50_seconds: float | None
    p95_seconds: float | None
    p99_seconds: float | None
    maximum_seconds: float | None


class ExposureAnswer(BaseModel):
    """The summary of a period, and its longest exposures."""

    summary: ExposureSummary
    revocations: list[RevocationAnswer]
