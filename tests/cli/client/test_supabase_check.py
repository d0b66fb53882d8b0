"""Waiting for a check of Supabase, against a fake relay."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.auth.claims import Scope
from app.cli.client.relay_client import open_relay
from app.cli.client.supabase_check import SupabaseReconciliation
from app.cli.errors import NotFinished
from tests.cli.commands.test_reconcile import make_report
from tests.cli.wire import Answer, Asked, Wire, document, problem

CHECK = "00000000-0000-4000-8000-000000000001"


class Clock:
    """A clock that pauses advance, so many times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        self.now = 0.0
        self.speed = speed
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += self.speed * seconds
        self.pauses.append(seconds)


@contextmanager
def open_reconciliation(wire: Wire, clock: Clock) -> Iterator[SupabaseReconciliation]:
    with open_relay(wire.url, "token", Scope.EVENTS_READ) as relay:
        yield SupabaseReconciliation(
            relay,
            report_wait=lambda *_: None,
            report_step=lambda _: None,
            pause=clock.pause,
            clock=clock,
        )


def answer(status: str) -> Answer:
    return document(make_report(reconcile_id=CHECK, status=status))


def test_running_check_is_looked_at_ever_less_often(wire: Wire) -> None:
    wire.answers = [*[answer("running")] * 8, answer("completed")]
    clock = Clock()
    with open_reconciliation(wire, clock) as sides:
        assert sides.compare().status == "completed"
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_restart_of_the_relay_is_waited_for(wire: Wire) -> None:
    unavailable = problem(503, "store-unavailable")
    wire.answers = [answer("running"), unavailable, unavailable, answer("completed")]
    with open_reconciliation(wire, Clock()) as sides:
        assert sides.compare().differences == 0


def test_check_without_an_end_is_given_up(wire: Wire) -> None:
    wire.answers = [answer("running")]
    with (
        open_reconciliation(wire, Clock(speed=1000)) as sides,
        pytest.raises(NotFinished, match=CHECK),
    ):
        sides.compare()


def test_pending_repairs_are_waited_for_half_a_minute(wire: Wire) -> None:
    def respond(asked: Asked) -> Answer:
        if asked.path == "/health":
            return document({"backlog": {"pending": 3}})
        return answer("completed")

    wire.answers = [respond]
    clock = Clock()
    with open_reconciliation(wire, clock) as sides:
        assert sides.repair(None, None) == 0
    assert 30 <= clock.now < 31
