"""Waiting for a backend's outbox, and leaving out what it still holds."""

from collections.abc import Iterator
from functools import partial

import pytest

from app.cli.source.database import open_source, read_database
from app.cli.source.outbox import Outbox
from app.cli.source.queries import BUILT_IN_QUERIES
from app.cli.source.snapshot import Snapshot
from tests.cli.source.backend import Backend, create_backend
from tests.cli.source.sides import ANA, BEN, READER, TRIP, Row, member, ref_of, trip, user
from tests.postgres import PostgresServer


class Clock:
    """A clock that pauses advance, with something to do meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps: Iterator[None] = iter(())

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        next(self.steps, None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(postgres: PostgresServer) -> Backend:
    return create_backend(postgres)


def find(backend: Backend, snapshot: Snapshot) -> Outbox:
    return read_database(backend.url, BUILT_IN_QUERIES, snapshot, READER)


def wait(backend: Backend, outbox: Outbox, clock: Clock, *, seconds: float = 60) -> list[int]:
    waited: list[int] = []
    outbox.wait(
        partial(open_source, backend.url),
        seconds=seconds,
        report_wait=waited.append,
        clock=clock,
        pause=clock.pause,
    )
    return waited


def send_rows(backend: Backend) -> Iterator[None]:
    """Send one row at each step, as a flusher does."""
    while True:
        backend.execute("delete from relay_outbox where id = (select min(id) from relay_outbox)")
        yield


def test_database_without_an_outbox_has_none(postgres: PostgresServer) -> None:
    backend = create_backend(postgres, has_outbox=False)
    with Snapshot() as snapshot:
        assert not find(backend, snapshot).exists


def test_empty_outbox_is_not_waited_for(backend: Backend, clock: Clock) -> None:
    with Snapshot() as snapshot:
        outbox = find(backend, snapshot)
        assert outbox.exists
        assert wait(backend, outbox, clock) == []
        assert outbox.exclude_unsent(partial(open_source, backend.url), snapshot) == 0


def test_rows_of_the_snapshot_are_waited_for_until_they_are_sent(
    backend: Backend, clock: Clock
) -> None:
    for name in ("a", "b"):
        backend.record("user.updated", user(name=name))
    with Snapshot() as snapshot:
        outbox = find(backend, snapshot)
        backend.record("user.updated", user(name="later"))
        clock.steps = send_rows(backend)
        assert wait(backend, outbox, clock) == [2, 1]
        assert outbox.exclude_unsent(partial(open_source, backend.url), snapshot) == 0
        assert not snapshot.is_unsent(ref_of(user()))


def test_wait_ends_after_its_time(backend: Backend, clock: Clock) -> None:
    backend.record("user.updated", user())
    with Snapshot() as snapshot:
        assert wait(backend, find(backend, snapshot), clock, seconds=3) == [1, 1, 1]
    assert clock.now == 3


def test_parked_row_is_not_waited_for_and_its_entity_does_not_count(
    backend: Backend, clock: Clock
) -> None:
    backend.record("user.updated", user())
    backend.execute("update relay_outbox set parked_at = now()")
    with Snapshot() as snapshot:
        outbox = find(backend, snapshot)
        assert wait(backend, outbox, clock) == []
        assert outbox.exclude_unsent(partial(open_source, backend.url), snapshot) == 1
        assert snapshot.is_unsent(ref_of(user()))


@pytest.mark.parametrize(
    ("event_type", "data", "unsent", "sent"),
    [
        ("user.deleted", {"id": ANA.upper()}, [user(), member()], [trip(), member(BEN)]),
        ("trip.created", trip(), [trip(), member(), member(BEN)], [user()]),
        ("membership.deleted", {"trip_id": TRIP, "user_id": ANA}, [member()], [member(BEN)]),
        ("membership.deleted", {"id": ANA}, [], [member(), user()]),
        ("invoice.paid", {"id": ANA}, [], [member(), user()]),
    ],
)
def test_unsent_rows_exclude_their_entities(
    backend: Backend, event_type: str, data: Row, unsent: list[Row], sent: list[Row]
) -> None:
    backend.record(event_type, data)
    with Snapshot() as snapshot:
        find(backend, snapshot).exclude_unsent(partial(open_source, backend.url), snapshot)
        assert [row for row in unsent if not snapshot.is_unsent(ref_of(row))] == []
        assert [row for row in sent if snapshot.is_unsent(ref_of(row))] == []
