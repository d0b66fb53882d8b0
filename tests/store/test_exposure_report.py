"""Measuring exposure: the period, the trip, percentiles and the longest."""

import pytest
from sqlalchemy import Engine, insert

from app.domain.exposure import BUCKET_SECONDS, ExposureFilter, ExposureReport, ExposureSummary
from app.domain.instants import Instant, after
from app.store import revocation_queries
from app.store.schema import revocations
from app.store.store import Store
from tests.histories import NOW, World
from tests.store.revocation_steps import LATER, apply, measure, receive, start


async def test_exposure_by_a_clock_that_was_ahead_is_zero(store: Store) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("deleted", at=3600 + 60), at=1)
    await apply(store, at=2)
    report = await measure(store)
    assert report.revocations[0].exposed_seconds == 0
    assert report.summary.maximum_seconds == 0


@pytest.mark.parametrize(
    ("since", "until", "is_found"),
    [
        (-100, None, True),
        (10, 20, True),  # within
        (0, 5, False),  # it began at 5
        (0, 6, True),
        (30, None, True),  # it ended at 30
        (31, None, False),
    ],
)
async def test_exposure_is_found_by_any_overlap_with_the_period(
    store: Store, since: int, until: int | None, *, is_found: bool
) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("deleted", at=3600 + 5), at=7)
    await apply(store, at=30)
    end = None if until is None else after(NOW, until)
    report = await measure(store, since=after(NOW, since), until=end)
    assert report.summary.revocations == len(report.revocations) == int(is_found)


@pytest.mark.parametrize(("until", "is_found"), [(5, False), (6, True), (None, True)])
async def test_exposure_that_lasts_overlaps_every_later_period(
    store: Store, until: int | None, *, is_found: bool
) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("deleted", at=3600 + 5), at=7)
    end = None if until is None else after(NOW, until)
    report = await measure(store, until=end)
    assert report.summary.unapplied == len(report.revocations) == int(is_found)


async def test_exposure_of_one_trip_has_no_other(store: Store) -> None:
    world = World()
    kept = [world.membership("deleted", 0, user, at=3600 + user) for user in (0, 1)]
    other = world.membership("deleted", 1, 0, at=3600)
    await receive(store, kept[0], other)
    await apply(store, at=1)
    await receive(store, kept[1], world.membership("deleted", 1, 1, at=3600))
    report = await measure(store, trip_id=world.trips[0])
    assert [each.key for each in report.revocations] == [kept[1].key, kept[0].key]
    assert (report.summary.revocations, report.summary.unapplied) == (2, 1)


async def test_exposure_without_revocations_has_no_percentiles(store: Store) -> None:
    report = await measure(store)
    assert report == ExposureReport(ExposureSummary(0, 0, None, None, None, None), ())


@pytest.mark.parametrize(
    ("count", "percentiles"),
    [
        (1, (1, 1, 1, 1)),
        (2, (1, 2, 2, 2)),
        (3, (2, 3, 3, 3)),
        (100, (50, 95, 99, 100)),
        (200, (100, 190, 198, 200)),
    ],
)
async def test_exposure_percentiles_are_of_all_and_the_list_of_the_longest(
    store: Store, engine: Engine, count: int, percentiles: tuple[int, int, int, int]
) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(revocations),
            [
                {"key": f"t/{n}", "occurred_at": 0, "received_at": 0, "applied_at": n * 1_000_000}
                for n in range(1, count + 1)
            ],
        )
    report = await measure(store, limit=3)
    assert report.summary == ExposureSummary(count, 0, *map(float, percentiles))
    longest = [each.exposed_seconds for each in report.revocations]
    assert longest == [float(n) for n in range(count, max(count - 3, 0), -1)]


async def test_exposure_is_counted_by_buckets_that_include_their_upper_bound(
    store: Store, engine: Engine
) -> None:
    bounds = [int(seconds * 1_000_000) for seconds in BUCKET_SECONDS]
    exposed = [-5, 0, *bounds, bounds[0] + 1, bounds[-1] + 1, bounds[-1] * 30]
    with engine.begin() as connection:
        connection.execute(
            insert(revocations),
            [
                {"key": f"t/{n}", "occurred_at": 0, "received_at": 0, "applied_at": each}
                for n, each in enumerate(exposed)
            ],
        )
    everything = ExposureFilter(Instant(-10))
    counts = await store.scan(revocation_queries.count_by_exposure, everything, LATER)
    assert counts == [3, 2, *[1] * (len(bounds) - 2), 2]


async def test_exposure_that_lasts_is_counted_until_now(store: Store) -> None:
    world = World()
    await start(store, world)
    await receive(store, world.membership("deleted", at=3600), at=1)
    criteria = ExposureFilter(NOW)
    for seconds, bucket in ((8, 10), (100, 300)):
        counts = await store.scan(
            revocation_queries.count_by_exposure, criteria, after(NOW, seconds)
        )
        assert sum(counts) == counts[BUCKET_SECONDS.index(bucket)] == 1
    empty = ExposureFilter(NOW, trip_id=world.trips[1])
    counts = await store.scan(revocation_queries.count_by_exposure, empty, LATER)
    assert counts == [0] * (len(BUCKET_SECONDS) + 1)
