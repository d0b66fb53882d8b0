"""What is told of the dispatcher: to monitoring, and by a replica that dispatches to the others."""

import json
from dataclasses import dataclass

from app.domain.failures import Failure, FailureKind
from app.domain.retry import BreakerState


@dataclass(frozen=True, slots=True)
class DispatcherView:
    """What monitoring may know of the dispatcher.

    Attributes:
        crash: the type of the error that its last run died of; None while it runs.
        breaker: whether Supabase is written to.
        failure: what stands in the way; None while Supabase answers.
        has_contact: whether Supabase has been asked at all yet.
    """

    crash: str | None
    breaker: BreakerState
    failure: Failure | None
    has_contact: bool


def write_view(view: DispatcherView) -> str:
    """Write a view as JSON."""
    failure = view.failure
    return json.dumps(
        {
            "crash": view.crash,
            "breaker": view.breaker,
            "failure": failure and [failure.kind, failure.code, failure.message],
            "has_contact": view.has_contact,
        }
    )


def read_view(text: str | None) -> DispatcherView:
    """Read what another replica has written; one that has not said anything is only starting."""
    if text is None:
        return DispatcherView(None, BreakerState.CLOSED, None, has_contact=False)
    told = json.loads(text)
    failure = None
    if told["failure"] is not None:
        kind, code, message = told["failure"]
        failure = Failure(FailureKind(kind), code, message)
    return DispatcherView(
        told["crash"], BreakerState(told["breaker"]), failure, told["has_contact"]
    )
