"""What the log says of a degradation, and when."""

import logging

import pytest

from app.domain.degradation import REMINDER_SECONDS, Degradation
from tests.auth.issuer import Clock

logger = logging.getLogger("app.tests.degradation")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def degradation(clock: Clock, caplog: pytest.LogCaptureFixture) -> Degradation:
    caplog.set_level(logging.INFO)
    return Degradation(logger, "it works again", monotonic=clock)


def test_degradation_is_logged_when_it_begins_and_ends(
    degradation: Degradation, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    degradation.end()
    for _ in range(100):
        degradation.note("it fails")
        clock.advance(1)
    states = [degradation.is_ongoing]
    degradation.end()
    degradation.end()
    states.append(degradation.is_ongoing)
    assert states == [True, False]
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("WARNING", "it fails"),
        ("INFO", "it works again"),
    ]
    assert vars(caplog.records[-1])["fields"] == {"lasted_seconds": 100.0}


def test_degradation_that_lasts_is_logged_every_five_minutes(
    degradation: Degradation, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(901):
        degradation.note("it fails", level=logging.ERROR)
        clock.advance(1)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [
        ("ERROR", "it fails"),
        ("ERROR", "it fails (for 5 minutes)"),
        ("ERROR", "it fails (for 10 minutes)"),
        ("ERROR", "it fails (for 15 minutes)"),
    ]


def test_degradation_with_another_cause_is_logged_at_once_but_alternating_causes_are_not(
    degradation: Degradation, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        for cause in ("full", "locked"):
            degradation.note(f"it fails: {cause}", cause=cause)
    assert caplog.messages == ["it fails: full", "it fails: locked"]
    clock.advance(REMINDER_SECONDS)
    for cause in ("full", "locked"):
        degradation.note(f"it fails: {cause}", cause=cause)
    assert caplog.messages[2:] == ["it fails: full (for 5 minutes)", "it fails: locked"]


def test_degradation_that_returns_is_logged_again(
    degradation: Degradation, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        degradation.note("it fails")
        degradation.end()
    assert caplog.messages == ["it fails", "it works again"] * 2


def test_degradation_that_is_forgotten_has_no_recovery(
    degradation: Degradation, caplog: pytest.LogCaptureFixture
) -> None:
    degradation.note("it fails")
    degradation.forget()
    degradation.end()
    assert caplog.messages == ["it fails"]


def test_degradation_by_an_error_has_its_traceback(
    degradation: Degradation, caplog: pytest.LogCaptureFixture
) -> None:
    degradation.note("it fails", error=ValueError("x"))
    assert "ValueError: x" in caplog.text
