"""Events for tests, made by hand or generated, criteria, and the oracle."""

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from app.domain.criteria import Criteria
from app.domain.entities import EntityRef, EventStatus, Kind, Version
from app.domain.event_reader import EventReader
from app.domain.events import Event, EventType
from app.domain.instants import MICROSECONDS_PER_SECOND, Instant, after, to_datetime

NOW = Instant(1_767_323_045 * MICROSECONDS_PER_SECOND)
READER = EventReader(roles=("OWNER", "ADMIN", "MEMBER"), statuses=("ACTIVE", "INACTIVE"))


def make_event(
    event_type: str, data: dict[str, str], *, at: int = 0, event_id: str | None = None
) -> Event:
    """Make an event that happened `at` seconds after an hour before NOW."""
    timestamp = to_datetime(Instant(NOW + (at - 3600) * MICROSECONDS_PER_SECOND)).isoformat()
    body = json.dumps({"type": event_type, "timestamp": timestamp, "data": data})
    return READER.read_event(event_id or uuid.uuid4().hex, body.encode(), now=NOW)


@dataclass(frozen=True)
class World:
    """A few users and trips with new ids, so that histories do not overlap."""

    users: tuple[str, ...] = field(default_factory=lambda: (str(uuid.uuid4()), str(uuid.uuid4())))
    trips: tuple[str, ...] = field(default_factory=lambda: (str(uuid.uuid4()), str(uuid.uuid4())))

    def user(self, action: str, user: int = 0, *, at: int = 0, name: str = "bo") -> Event:
        """Make an event of a user."""
        data = {"id": self.users[user]}
        if action != "deleted":
            data |= {"email": f"{name}@example.com", "username": name}
        return make_event(f"user.{action}", data, at=at)

    def trip(self, action: str, trip: int = 0, *, at: int = 0, name: str = "Lisbon") -> Event:
        """Make an event of a trip."""
        data = {"id": self.trips[trip]}
        if action != "deleted":
            data |= {"name": name, "created_by": self.users[0]}
        return make_event(f"trip.{action}", data, at=at)

    def membership(
        self,
        action: str,
        trip: int = 0,
        user: int = 0,
        *,
        at: int = 0,
        role: str = "MEMBER",
        status: str = "ACTIVE",
    ) -> Event:
        """Make an event of a membership."""
        data = {"trip_id": self.trips[trip], "user_id": self.users[user]}
        if action != "deleted":
            data |= {"role": role, "status": status}
        return make_event(f"membership.{action}", data, at=at)

    def refs(self) -> list[EntityRef]:
        """Name every possible entity."""
        return [ref_of(event) for event in self._one_of_each()]

    def _one_of_each(self) -> Iterable[Event]:
        for user in range(len(self.users)):
            yield self.user("deleted", user)
        for trip in range(len(self.trips)):
            yield self.trip("deleted", trip)
            for user in range(len(self.users)):
                yield self.membership("deleted", trip, user)


def ref_of(event: Event) -> EntityRef:
    """Name the entity of an event."""
    return EntityRef(event.kind, event.key)


def some_criteria(
    refs: Sequence[EntityRef], statuses: Iterable[EventStatus]
) -> st.SearchStrategy[Criteria]:
    """Generate criteria other than ids, for events received a few seconds around NOW."""
    instants = st.none() | st.integers(-4, 5).map(lambda at: after(NOW, at))
    return st.builds(
        Criteria,
        since=instants,
        until=instants,
        types=st.none() | st.lists(st.sampled_from(EventType), unique=True).map(tuple),
        entity=st.none() | st.sampled_from(refs),
        status=st.none() | st.sampled_from(tuple(statuses)),
        error_code=st.sampled_from((None, None, None, "23514", "57014")),
        error=st.sampled_from((None, None, None, "violates a constraint", "violates")),
    )


def find_desired_rows(arrived: Sequence[Event]) -> dict[EntityRef, str | None]:
    """Return the rows that Supabase must hold after these events in this order: the oracle."""
    versions = [Version(e.occurred_at, e.is_removal, n) for n, e in enumerate(arrived)]
    latest: dict[EntityRef, int] = {}
    removals: dict[str, Version] = {}
    for n, event in enumerate(arrived):
        if versions[n] >= versions[latest.setdefault(ref_of(event), n)]:
            latest[ref_of(event)] = n
        if event.kind is not Kind.MEMBERSHIP and event.row is None:
            removals[event.key] = max(versions[n], removals.get(event.key, versions[n]))
    return {
        ref: None
        if any(
            parent in removals and removals[parent] > versions[n] for parent in ref.key.split("/")
        )
        and ref.kind is Kind.MEMBERSHIP
        else arrived[n].row
        for ref, n in latest.items()
    }


@st.composite
def histories(draw: st.DrawFn, *, instants: int = 6, most: int = 25) -> tuple[World, list[Event]]:
    """Generate events of all types in any order, many of them at the same few instants."""
    world = World()
    moments = st.integers(0, instants - 1)
    pick = st.integers(0, 1)
    changes = st.sampled_from(("created", "updated", "deleted"))
    event = st.one_of(
        st.builds(
            lambda action, user, at, name: world.user(action, user, at=at, name=name),
            changes,
            pick,
            moments,
            st.sampled_from(("bo", "cy")),
        ),
        st.builds(
            lambda action, trip, at, name: world.trip(action, trip, at=at, name=name),
            changes,
            pick,
            moments,
            st.sampled_from(("Lisbon", "Porto")),
        ),
        st.builds(
            lambda action, trip, user, at, role, status: world.membership(
                action, trip, user, at=at, role=role, status=status
            ),
            changes,
            pick,
            pick,
            moments,
            st.sampled_from(("MEMBER", "ADMIN")),
            st.sampled_from(("ACTIVE", "INACTIVE")),
        ),
    )
    return world, draw(st.lists(event, min_size=1, max_size=most))
