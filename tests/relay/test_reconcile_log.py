"""What the log says of checks for drift."""

import logging

import pytest

from app.domain.clocks import Clocks
from app.domain.drift import (
    Effect,
    ReconcileId,
    ReconcileRequest,
    ReconcileStatus,
    Reconciliation,
    TableDrift,
)
from app.domain.entities import Kind
from app.domain.instants import Instant
from app.relay.drift_check import CheckFailed
from app.relay.reconcile_log import ReconcileLog
from tests.auth.issuer import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> ReconcileLog:
    caplog.set_level(logging.INFO)
    return ReconcileLog(Clocks(monotonic=clock))


def make_result(name: str, **counts: int) -> Reconciliation:
    found = {Effect(effect): count for effect, count in counts.items()}
    return Reconciliation(
        number=1,
        reconcile_id=ReconcileId(name),
        requested_at=Instant(0),
        requested_by=None,
        request=ReconcileRequest(),
        status=ReconcileStatus.COMPLETED,
        tables=(TableDrift(Kind.USER, "public.users", 10, found),),
        plan_id="plan",
    )


def test_failed_checks_are_logged_by_cause_until_one_succeeds(
    log: ReconcileLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(6):
        log.note_failure(CheckFailed("Supabase did not answer: 503"))
        clock.advance(60)
    log.note_failure(CheckFailed("relay_digest is missing", needs_operator=True))
    log.note_result(make_result("a"))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "the check for drift failed: Supabase did not answer: 503"),
        ("WARNING", "the check for drift failed: Supabase did not answer: 503 (for 5 minutes)"),
        ("ERROR", "the check for drift failed: relay_digest is missing"),
        ("INFO", "the check for drift succeeds again"),
    ]


def test_drift_is_logged_at_each_check_until_there_is_none(
    log: ReconcileLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.note_result(make_result("a", leaks=1, other=2))
    log.note_result(make_result("b", other=2))
    log.note_result(make_result("c"))
    log.note_result(make_result("d"))
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        (
            "ERROR",
            "rows of Supabase that grant access and should not: 1, being repaired: 1"
            " (reconciliation a)",
        ),
        (
            "WARNING",
            "rows of Supabase that differ from the desired state: 2 (reconciliation b, plan plan)",
        ),
        ("INFO", "Supabase equals the desired state again"),
    ]
