"""Shows that replicas read of each other what the leader has written."""

import json
from dataclasses import fields

import pytest

from app.domain.failures import RequestFailure, RequestFailureKind
from app.domain.retry import BreakerState
from app.relay.dispatcher_status import (
    STARTING,
    DispatcherStatus,
    HeldTable,
    read_status,
    write_status,
)

TROUBLED = DispatcherStatus(
    crash="ValueError",
    breaker=BreakerState.OPEN,
    failure=RequestFailure(RequestFailureKind.UNAVAILABLE, "HTTP 503", "é", 60.0),
    has_contact=True,
    held=(
        HeldTable("public.trips", "writes", "42P01", "no table"),
        HeldTable("app.profiles", "deletes", "42501", "no privilege"),
    ),
    has_rival=True,
    is_fence_busy=True,
    unrecorded=7,
)


@pytest.mark.parametrize("status", [STARTING, TROUBLED], ids=["starting", "troubled"])
def test_status_that_was_written_is_read_as_it_was(status: DispatcherStatus) -> None:
    assert read_status(write_status(status)) == status


@pytest.mark.parametrize("kind", RequestFailureKind)
def test_failure_of_every_kind_is_read_as_it_was(kind: RequestFailureKind) -> None:
    failure = RequestFailure(kind, "c", "m")
    status = DispatcherStatus(None, BreakerState.OPEN, failure, has_contact=False)
    read = read_status(write_status(status)).failure
    assert read is not None
    assert read == failure
    assert isinstance(read.kind, RequestFailureKind)


def test_status_is_written_whole_as_json() -> None:
    assert set(json.loads(write_status(TROUBLED))) == {each.name for each in fields(TROUBLED)}


def test_status_that_nobody_has_written_is_that_of_a_start() -> None:
    assert read_status(None) == STARTING
