"""The next attempt of a pending entity is never before the dispatcher can make one."""

from app.domain.events import EventId
from app.domain.history import StoredEvent
from app.domain.instants import from_seconds
from app.relay.leader_reader import LeaderReader, correct_attempts
from app.store import event_queries
from tests.histories import World
from tests.relay.harness import Harness


async def find(harness: Harness, event_id: EventId) -> StoredEvent:
    event = await harness.store.read(event_queries.find_event, event_id)
    assert event is not None
    (corrected,) = await LeaderReader(harness.dispatcher, None).correct_attempts([event])
    return corrected


async def test_next_attempt_during_an_outage_is_the_next_probe(harness: Harness) -> None:
    trip = World().trip("created")
    await harness.receive(trip)
    harness.postgrest.break_connection()
    for _ in range(3):
        harness.advance(1)
        await harness.drain()
    # After the third failure in a row, with a jitter of 0.999.
    next_probe_at = from_seconds(harness.clock() + 0.999 * 2)
    assert (await find(harness, trip.event_id)).entity.next_attempt_at == next_probe_at
    harness.postgrest.heal()
    harness.advance(4)
    await harness.drain()
    assert (await find(harness, trip.event_id)).entity.next_attempt_at is None


async def test_next_attempt_of_rows_of_a_misconfigured_table_is_the_next_trial(
    harness: Harness,
) -> None:
    trips = [World().trip("created") for _ in range(2)]
    await harness.receive(*trips)
    harness.postgrest.fail_row(lambda *_: True, "42P01", "relation does not exist")
    for _ in range(4):
        harness.advance(1)
        await harness.drain()
    (held,) = harness.dispatcher.status.held_rows
    for trip in trips:
        next_attempt_at = (await find(harness, trip.event_id)).entity.next_attempt_at
        assert next_attempt_at is not None
        assert next_attempt_at >= held.next_trial_at > from_seconds(harness.clock())


async def test_next_attempt_without_a_leader_is_unknown(harness: Harness) -> None:
    trip = World().trip("created")
    await harness.receive(trip)
    event = await harness.store.read(event_queries.find_event, trip.event_id)
    assert event is not None
    assert event.entity.next_attempt_at is not None
    (corrected,) = correct_attempts([event], None)
    assert corrected.entity.next_attempt_at is None
