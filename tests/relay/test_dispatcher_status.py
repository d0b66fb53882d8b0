"""The dispatcher's status is read as another replica wrote it."""

import pytest

from app.domain.failures import RequestFailure, RequestFailureKind
from app.relay.dispatcher_status import DispatcherStatus, read_status, write_status

TROUBLED = DispatcherStatus(
    crash="ValueError",
    failure=RequestFailure(RequestFailureKind.UNAVAILABLE, "HTTP 503", "é", 60.0),
    has_contact=True,
    held=(
        "writes of public.trips wait",
        "deletes of app.profiles wait",
    ),
    has_rival=True,
    is_fence_busy=True,
    unrecorded=7,
)


@pytest.mark.parametrize("status", [DispatcherStatus(), TROUBLED], ids=["starting", "troubled"])
def test_status_written_and_read_is_equal(status: DispatcherStatus) -> None:
    assert read_status(write_status(status)) == status


@pytest.mark.parametrize("kind", RequestFailureKind)
def test_status_with_a_failure_of_each_kind_is_read_as_that_kind(kind: RequestFailureKind) -> None:
    status = DispatcherStatus(failure=RequestFailure(kind, "c", "m"))
    failure = read_status(write_status(status)).failure
    assert failure is not None
    assert failure.kind is kind


def test_status_before_any_was_written_is_that_of_a_start() -> None:
    assert read_status(None) == DispatcherStatus()
