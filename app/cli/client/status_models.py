"""The relay's responses to `GET /health` and `GET /status`, as far as the command shows them."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel

from app.cli.client.api_models import EventAnswer, ExposureSummary


class CheckAnswer(BaseModel):
    """The status of one component."""

    status: str
    reason: str | None


class BacklogAnswer(BaseModel):
    """What Supabase does not hold yet."""

    pending: int | None
    oldest_pending_seconds: float
    oldest_removal_seconds: float
    dead: int | None


class DriftAnswer(BaseModel):
    """The result of the checks of Supabase."""

    status: str
    age_seconds: float | None
    leaks: int | None
    denies: int | None
    other: int | None
    failure: str | None


class HealthAnswer(BaseModel):
    """The health, which every caller may read."""

    status: str
    version: str
    checks: Mapping[str, CheckAnswer]
    backlog: BacklogAnswer
    drift: DriftAnswer


class CircuitBreakerAnswer(BaseModel):
    """The circuit breaker; the times are null unless it is open."""

    is_open: bool
    opened_at: datetime | None
    next_probe_at: datetime | None


class HeldRowsAnswer(BaseModel):
    """What waits because its table is misconfigured."""

    kind: str
    is_delete: bool
    next_trial_at: datetime


class DeadCauseAnswer(BaseModel):
    """Why entities of one kind are dead."""

    kind: str
    code: str
    message: str
    entities: int


class StatusAnswer(BaseModel):
    """What only an operator may read."""

    at: datetime
    replica: str
    leader: str | None
    circuit_breaker: CircuitBreakerAnswer | None
    held_rows: list[HeldRowsAnswer]
    dead: list[DeadCauseAnswer]
    revocations: ExposureSummary | None
    events: list[EventAnswer]
