"""The dispatcher's status, for monitoring and for the other replicas."""

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter

from app.domain.failures import RequestFailure


@dataclass(frozen=True, slots=True)
class DispatcherStatus:
    """The status of one dispatcher.

    Attributes:
        crash: the type of the error that ended the last run; None while it runs.
        failure: why the circuit breaker is open; None while it is closed.
        has_contact: whether Supabase has responded yet.
        held: a sentence on each misconfigured table.
        has_rival: whether another relay seems to write to the same project.
        is_fence_busy: whether another request has held the fence for long.
        unrecorded: entities whose outcome the store could not record yet.
    """

    crash: str | None = None
    failure: RequestFailure | None = None
    has_contact: bool = False
    held: tuple[str, ...] = ()
    has_rival: bool = False
    is_fence_busy: bool = False
    unrecorded: int = 0


_SCHEMA: Final = TypeAdapter(DispatcherStatus)


def write_status(status: DispatcherStatus) -> str:
    """Write a status as JSON."""
    return _SCHEMA.dump_json(status).decode()


def read_status(text: str | None) -> DispatcherStatus:
    """Read the status that another replica wrote; a replica that starts has none yet."""
    return DispatcherStatus() if text is None else _SCHEMA.validate_json(text)
