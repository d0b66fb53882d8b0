"""What is told of the dispatcher: to monitoring, and by the leader to the other replicas."""

import json
from dataclasses import asdict, dataclass

from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.retry import BreakerState


@dataclass(frozen=True, slots=True)
class HeldTable:
    """A table that is not as configured: its writes, or its deletes, wait.

    Attributes:
        table: its name, with the schema.
        action: `writes` or `deletes`.
        code: SQLSTATE.
        message: one sentence without values.
    """

    table: str
    action: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """What monitoring may know of the dispatcher.

    Attributes:
        crash: the type of the error that its last run ended with; None while it runs.
        breaker: whether Supabase is written to.
        failure: why the circuit breaker is open; None while it is closed.
        has_contact: whether Supabase has answered yet.
        held: tables that are not as configured.
        has_rival: whether another relay seems to write to the same project.
        is_fence_busy: whether another request has held the fence for long.
        unrecorded: entities that were applied and could not be recorded yet.
    """

    crash: str | None
    breaker: BreakerState
    failure: RequestFailure | None
    has_contact: bool
    held: tuple[HeldTable, ...] = ()
    has_rival: bool = False
    is_fence_busy: bool = False
    unrecorded: int = 0


STARTING = DispatcherStatus(None, BreakerState.CLOSED, None, has_contact=False)


def write_status(status: DispatcherStatus) -> str:
    """Write a status as JSON."""
    return json.dumps(asdict(status))


def read_status(text: str | None) -> DispatcherStatus:
    """Read what another replica has written; without any it is only starting."""
    if text is None:
        return STARTING
    fields = json.loads(text)
    failure = fields.pop("failure")
    if failure is not None:
        failure = RequestFailure(**{**failure, "kind": RequestFailureKind(failure["kind"])})
    return DispatcherStatus(
        **{
            **fields,
            "breaker": BreakerState(fields["breaker"]),
            "held": tuple(HeldTable(**table) for table in fields["held"]),
        },
        failure=failure,
    )
