"""The dispatcher's status is read as another replica wrote it."""

import pytest

from app.domain.entities import EntityKey, EntityRef, EntityState, Kind
from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.history import EntityView
from app.domain.instants import Instant
from app.relay.dispatcher_status import DispatcherStatus, HeldRows, read_status, write_status

TROUBLED = DispatcherStatus(
    crash="ValueError",
    failure=RequestFailure(RequestFailureKind.UNAVAILABLE, "HTTP 503", "é", 60.0),
    failing_since=Instant(1),
    next_probe_at=Instant(2),
    has_contact=True,
    held=(
        "writes of public.trips wait",
        "deletes of app.profiles wait",
    ),
    held_rows=(HeldRows(Kind.TRIP, False, True, Instant(3)),),
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


def make_view(
    *, due_at: int | None = 10, is_removed: bool = False, is_removal: bool = False, **other: bool
) -> EntityView:
    """Make a pending membership that is retried."""
    return EntityView(
        ref=EntityRef(Kind.MEMBERSHIP, EntityKey("trip/user")),
        state=EntityState.APPLIED if due_at is None else EntityState.PENDING,
        is_removed=is_removed,
        is_removal=is_removal,
        desired_at=Instant(1),
        desired_sequence=1,
        applied_version_at=None,
        applied_sequence=None,
        applied_at=None,
        pending_since=None,
        attempts=0,
        next_attempt_at=None if due_at is None else Instant(due_at),
        is_retry=other.get("is_retry", True),
        last_error_code=None,
        last_error=None,
    )


@pytest.mark.parametrize(
    ("due_at", "next_probe_at", "next_attempt_at"),
    [(10, None, 10), (10, 20, 20), (30, 20, 30), (None, 20, None)],
)
def test_next_attempt_is_not_before_the_next_probe(
    due_at: int | None, next_probe_at: int | None, next_attempt_at: int | None
) -> None:
    probe = None if next_probe_at is None else Instant(next_probe_at)
    status = DispatcherStatus(next_probe_at=probe)
    assert status.find_next_attempt(make_view(due_at=due_at)) == next_attempt_at


@pytest.mark.parametrize(
    ("view", "held", "next_attempt_at"),
    [
        (make_view(), HeldRows(Kind.MEMBERSHIP, False, False, Instant(20)), 20),
        (make_view(due_at=30), HeldRows(Kind.MEMBERSHIP, False, False, Instant(20)), 30),
        # A fresh change is tried at once.
        (make_view(is_retry=False), HeldRows(Kind.MEMBERSHIP, False, False, Instant(20)), 10),
        (make_view(), HeldRows(Kind.TRIP, False, False, Instant(20)), 10),
        (make_view(), HeldRows(Kind.MEMBERSHIP, True, False, Instant(20)), 10),
        (make_view(is_removed=True), HeldRows(Kind.MEMBERSHIP, True, False, Instant(20)), 20),
        # A membership without access is written, or deleted where the mapping says so.
        (make_view(is_removal=True), HeldRows(Kind.MEMBERSHIP, False, False, Instant(20)), 20),
        (make_view(is_removal=True), HeldRows(Kind.MEMBERSHIP, True, True, Instant(20)), 20),
        (make_view(is_removal=True), HeldRows(Kind.MEMBERSHIP, False, True, Instant(20)), 10),
    ],
)
def test_next_attempt_of_a_held_row_is_not_before_the_next_trial(
    view: EntityView, held: HeldRows, next_attempt_at: int
) -> None:
    assert DispatcherStatus(held_rows=(held,)).find_next_attempt(view) == next_attempt_at
