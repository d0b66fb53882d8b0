"""`relay evict` with a real relay: access ends at once, whatever the relay's authentication."""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from app.demo.local_supabase import LocalSupabase
from tests.e2e.conftest import RelayMaker, RelayProcess, find_free_port, run_relays, strip_colours
from tests.e2e.terminal import Terminal

AsUser = Callable[[UUID], httpx.Client]


@pytest.fixture(scope="module")
def relay(
    tmp_path_factory: pytest.TempPathFactory, local_supabase: LocalSupabase
) -> Iterator[RelayProcess]:
    with run_relays(tmp_path_factory.mktemp("relays")) as make:
        yield make(
            SUPABASE_URL=local_supabase.url,
            SUPABASE_SECRET_KEY=local_supabase.secret_key,
            WEBHOOK_AUTH="any",
        )


def join_trips(relay: RelayProcess, user: UUID, count: int) -> list[UUID]:
    """Make a user a member of new trips, by one batch of the past."""
    at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    trips = [uuid.uuid4() for _ in range(count)]
    row = {"id": str(user), "email": f"{user}@example.com", "username": "bo"}
    events = [("user.created", row)]
    for trip in trips:
        ids = {"trip_id": str(trip), "user_id": str(user)}
        events += [
            ("trip.created", {"id": str(trip), "name": "Lisbon", "created_by": str(user)}),
            ("membership.created", ids | {"role": "MEMBER", "status": "ACTIVE"}),
        ]
    lines = "".join(
        json.dumps({"type": event_type, "timestamp": at, "data": data}) + "\n"
        for event_type, data in events
    )
    sent = relay.run("send", "--file", "-", standard_input=lines)
    assert sent.returncode == 0, sent.stderr
    relay.await_settled()
    return trips


def list_trips(as_user: AsUser, user: UUID) -> set[str]:
    response = as_user(user).get("trips", params={"select": "id"}).raise_for_status()
    return {row["id"] for row in response.json()}


def test_evicted_user_reads_nothing_more_of_the_trip_and_then_of_any(
    relay: RelayProcess, as_user: AsUser
) -> None:
    user = uuid.uuid4()
    trips = join_trips(relay, user, 12)
    assert list_trips(as_user, user) == set(map(str, trips))
    one = relay.run("evict", "--user", str(user), "--trip", str(trips[0]), "--yes")
    assert one.returncode == 0, one.stderr
    assert strip_colours(one.stdout).startswith("in force in Supabase after ")
    assert list_trips(as_user, user) == set(map(str, trips[1:]))
    rest = relay.run("evict", "--user", str(user), "--yes", "--json")
    assert rest.returncode == 0, rest.stderr
    assert {each["trip_id"] for each in json.loads(rest.stdout)["removals"]} == {
        *map(str, trips[1:])
    }
    assert list_trips(as_user, user) == set()
    again = relay.run("evict", "--user", str(user), "--yes")
    assert again.returncode == 2


def test_late_event_of_the_membership_gives_no_access_and_a_new_one_does(
    relay: RelayProcess, as_user: AsUser
) -> None:
    user = uuid.uuid4()
    (trip,) = join_trips(relay, user, 1)
    assert relay.run("evict", "--user", str(user), "--yes").returncode == 0
    row = {"trip_id": str(trip), "user_id": str(user), "role": "ADMIN", "status": "ACTIVE"}
    late = (datetime.now(UTC) - timedelta(seconds=30)).isoformat()
    assert relay.post("membership.updated", row, timestamp=late).json()["status"] == "superseded"
    assert list_trips(as_user, user) == set()
    relay.post("membership.updated", row)
    assert list_trips(as_user, user) == {str(trip)}


def test_evict_at_a_terminal_names_the_trips_and_asks(relay: RelayProcess) -> None:
    user = uuid.uuid4()
    trips = join_trips(relay, user, 2)
    with Terminal(relay, ("evict", "--user", str(user))) as terminal:
        terminal.await_shown("Evict? [y/N]:")
        assert f"User {user} loses 2 memberships:" in terminal.shown
        assert all(str(trip) in terminal.shown for trip in trips)
        terminal.type("n\n")
        assert terminal.end() == 2
    assert "Nobody is evicted." in terminal.shown


def test_evict_while_supabase_is_unavailable_is_pending_with_the_reason(
    make_relay: RelayMaker,
) -> None:
    relay = make_relay(
        SUPABASE_URL=f"http://127.0.0.1:{find_free_port()}",
        SUPABASE_SECRET_KEY="sb_secret_x",
        WEBHOOK_AUTH="both",
    )
    ids = ("--user", str(uuid.uuid4()), "--trip", str(uuid.uuid4()))
    done = relay.run("evict", *ids, "--yes", "--wait", "1")
    assert done.returncode == 1, done.stderr
    assert "accepted, pending: membership " in strip_colours(done.stdout)
    assert "unreachable or failing" in strip_colours(done.stdout)
