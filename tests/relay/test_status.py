"""The status report, on either database."""

from app.domain.entities import Kind
from app.relay.leader_reader import LeaderReader
from app.relay.status import CAUSES, EVENTS, StatusReporter
from tests.histories import World
from tests.relay.harness import Harness, picks


def make_reporter(harness: Harness) -> StatusReporter:
    leader = LeaderReader(harness.dispatcher, None)
    return StatusReporter(harness.store, leader, harness.clocks)


async def test_status_has_the_latest_events_and_the_exposure_of_the_last_hour(
    harness: Harness,
) -> None:
    reporter = make_reporter(harness)
    world = World()
    events = [world.user("created"), world.trip("created"), world.membership("created")]
    revocation = world.membership("deleted", at=1)
    others = [World().trip("created") for _ in range(EVENTS - 1)]
    for event in (*events, revocation, *others):
        await harness.receive(event)
        await harness.drain()
        harness.advance(1)
    status = await reporter.report()
    newest_first = [event.event_id for event in (*reversed(others), revocation)]
    assert [event.event_id for event in status.events] == newest_first
    assert status.exposure is not None
    assert (status.exposure.revocations, status.exposure.unapplied) == (1, 0)
    assert status.leader is not None
    assert status.leader.name == status.replica
    harness.advance(3600)
    later = await reporter.report()
    assert later.exposure is not None
    assert later.exposure.revocations == 0


async def test_status_has_the_most_frequent_causes_of_dead_entities(harness: Harness) -> None:
    for number in range(CAUSES + 1):
        users = [World().user("created") for _ in range(number + 1)]
        undo = harness.postgrest.fail_row(picks(*users), f"2200{number}", "it is rejected")
        await harness.receive(*users)
        await harness.drain()
        undo()
    dead = (await make_reporter(harness).report()).dead
    assert [cause.code for cause in dead] == ["22005", "22004", "22003", "22002", "22001"]
    assert [cause.entities for cause in dead] == [6, 5, 4, 3, 2]
    assert {cause.kind for cause in dead} == {Kind.USER}
