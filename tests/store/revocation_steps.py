"""What tests do with revocations in more than one step."""

from app.domain.entities import EntityKey
from app.domain.events import Event
from app.domain.exposure import ExposureFilter, ExposureReport, Revocation
from app.domain.instants import Instant, after
from app.store import revocation_queries
from app.store.store import Store
from tests.histories import NOW, World
from tests.store.store_steps import have_applied

LONG_AGO = Instant(0)
LATER = after(NOW, 600)
Window = tuple[EntityKey, int, int, int | None]
"""Key, and when it occurred, was received and was applied, in seconds after NOW."""


async def measure(
    store: Store,
    *,
    since: Instant = LONG_AGO,
    until: Instant | None = None,
    trip_id: str | None = None,
    now: Instant = LATER,
    limit: int = 200,
) -> ExposureReport:
    """Measure as an operator does."""
    criteria = ExposureFilter(since, until, trip_id)
    return await store.scan(revocation_queries.read_exposure, criteria, now, limit)


async def list_windows(store: Store) -> list[Window]:
    """List all windows, in the order of the report."""
    report = await measure(store)
    assert report.summary.revocations == len(report.revocations)
    return [in_seconds(each) for each in report.revocations]


def in_seconds(each: Revocation) -> Window:
    """Return a revocation in seconds after NOW."""
    occurred, received, applied = (
        None if moment is None else round((moment - NOW) / 1_000_000)
        for moment in (each.occurred_at, each.received_at, each.applied_at)
    )
    assert occurred is not None
    assert received is not None
    return each.key, occurred, received, applied


async def receive(store: Store, *events: Event, at: int = 0) -> None:
    """Receive events, `at` seconds after NOW."""
    await store.store_events(events, after(NOW, at))


async def apply(store: Store, *, at: int) -> None:
    """Have all that is due applied, `at` seconds after NOW."""
    await have_applied(store, now=after(NOW, at))


async def start(store: Store, world: World) -> None:
    """Give both users of a world access to its first trip."""
    members = [world.membership("created", 0, user) for user in (0, 1)]
    await receive(store, world.user("created"), world.user("created", 1), world.trip("created"))
    await receive(store, *members)
    await apply(store, at=0)
