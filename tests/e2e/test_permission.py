"""A signed change becomes a permission of a user in Supabase."""

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest

from app.cli.client.signing import sign_body
from app.demo.local_supabase import LocalSupabase
from tests.e2e.conftest import RelayMaker, RelayProcess, find_free_port

AsUser = Callable[[UUID], httpx.Client]


class Trip:
    """A trip with a message in its chat, an owner, and a user who is not in it."""

    def __init__(self, relay: RelayProcess, service_role: httpx.Client) -> None:
        self.relay = relay
        self.service_role = service_role
        self.id, self.owner, self.user = (uuid.uuid4() for _ in range(3))
        self.ids = {"trip_id": str(self.id), "user_id": str(self.user)}
        self._applied("user.created", self.user_row(self.owner, "ana"))
        self._applied("user.created", self.user_row(self.user, "bo"))
        self._applied(
            "trip.created", {"id": str(self.id), "name": "Lisbon", "created_by": str(self.owner)}
        )
        self.write_message()

    @staticmethod
    def user_row(user: UUID, name: str) -> dict[str, str]:
        return {"id": str(user), "email": f"{name}@example.com", "username": name}

    def write_message(self) -> None:
        message = {"trip_id": str(self.id), "user_id": str(self.owner), "body": "Tram 28 at nine?"}
        self.service_role.post("chat_messages", json=message).raise_for_status()

    def _applied(self, event_type: str, data: dict[str, str]) -> None:
        answer = self.relay.post(event_type, data)
        assert (answer.status_code, answer.json()["status"]) == (200, "applied"), answer.text

    def change(self, event_type: str, **data: str) -> None:
        self._applied(event_type, data)

    def add_member(self, *, status: str = "ACTIVE", action: str = "created") -> None:
        self._applied(f"membership.{action}", self.ids | {"role": "MEMBER", "status": status})

    def read_chat(self, as_user: AsUser) -> list[str]:
        answer = as_user(self.user).get("chat_messages", params={"trip_id": f"eq.{self.id}"})
        assert answer.status_code == 200, answer.text
        return [row["body"] for row in answer.json()]

    def rows(self, table: str, column: str, value: UUID) -> list[dict[str, str]]:
        answer = self.service_role.get(table, params={column: f"eq.{value}"})
        rows: list[dict[str, str]] = answer.raise_for_status().json()
        return rows


@pytest.fixture
def trip(relay: RelayProcess, service_role: httpx.Client) -> Trip:
    return Trip(relay, service_role)


def test_membership_created_and_deleted_grants_and_revokes_access(
    trip: Trip, as_user: AsUser
) -> None:
    assert trip.read_chat(as_user) == []
    trip.add_member()
    assert trip.read_chat(as_user) == ["Tram 28 at nine?"]
    trip.change("membership.deleted", **trip.ids)
    assert trip.read_chat(as_user) == []


def test_membership_status_revokes_and_grants_access(trip: Trip, as_user: AsUser) -> None:
    trip.add_member()
    trip.add_member(status="INACTIVE", action="updated")
    assert trip.read_chat(as_user) == []
    assert [row["status"] for row in trip.rows("trip_memberships", "user_id", trip.user)] == [
        "INACTIVE"
    ]
    trip.add_member(action="updated")
    assert trip.read_chat(as_user) == ["Tram 28 at nine?"]


def test_user_deleted_revokes_access(trip: Trip, as_user: AsUser) -> None:
    trip.add_member()
    trip.change("user.deleted", id=str(trip.user))
    assert trip.read_chat(as_user) == []
    assert trip.rows("users", "id", trip.user) == []
    assert trip.rows("trip_memberships", "user_id", trip.user) == []


def test_trip_deleted_revokes_access_and_its_return_brings_no_members_back(
    trip: Trip, as_user: AsUser
) -> None:
    trip.add_member()
    trip.change("trip.deleted", id=str(trip.id))
    assert trip.rows("trip_memberships", "trip_id", trip.id) == []
    trip.change("trip.created", id=str(trip.id), name="Lisbon", created_by=str(trip.owner))
    trip.write_message()
    assert trip.read_chat(as_user) == []


def test_all_nine_event_types_leave_exactly_the_permission_columns(trip: Trip) -> None:
    extra = {"phone": "+351 555 0100", "created_at": "2026-01-01T00:00:00Z"}
    user, other_trip = str(trip.user), str(trip.id)
    trip.change("user.updated", **trip.user_row(trip.user, "bob"), **extra)
    trip.change("trip.updated", id=other_trip, name="Porto", created_by=user, **extra)
    trip.change("membership.created", **trip.ids, role="MEMBER", status="ACTIVE", **extra)
    trip.change("membership.updated", **trip.ids, role="ADMIN", status="ACTIVE", **extra)
    assert trip.rows("users", "id", trip.user) == [trip.user_row(trip.user, "bob")]
    assert trip.rows("trips", "id", trip.id) == [
        {"id": other_trip, "name": "Porto", "created_by": user}
    ]
    assert trip.rows("trip_memberships", "user_id", trip.user) == [
        trip.ids | {"role": "ADMIN", "status": "ACTIVE"}
    ]
    trip.change("membership.deleted", **trip.ids)
    trip.change("trip.deleted", id=other_trip)
    trip.change("user.deleted", id=user)
    assert trip.rows("users", "id", trip.user) == []
    assert trip.rows("trips", "id", trip.id) == []
    assert trip.rows("trip_memberships", "user_id", trip.user) == []


def test_late_created_event_and_its_replay_grant_no_access(trip: Trip, as_user: AsUser) -> None:
    trip.add_member()
    trip.change("membership.deleted", **trip.ids)
    before = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    late = trip.relay.post(
        "membership.created",
        trip.ids | {"role": "MEMBER", "status": "ACTIVE"},
        timestamp=before,
    ).json()
    assert late["status"] == "superseded"
    with trip.relay.operator("replay:write", "events:read") as operator:
        replay = operator.post("/replay", json={"event_ids": [late["event_id"]]})
        assert (replay.status_code, replay.json()["entities"]) == (202, 1)
        trip.relay.await_settled()
        found = operator.get(f"/events/{late['event_id']}").json()
    assert found["status"] == "superseded"
    assert found["entity"]["state"] == "applied"
    assert trip.read_chat(as_user) == []


def test_replay_repairs_a_change_made_in_supabase(trip: Trip, as_user: AsUser) -> None:
    trip.add_member()
    trip.service_role.delete(
        "trip_memberships", params={"user_id": f"eq.{trip.user}"}
    ).raise_for_status()
    assert trip.read_chat(as_user) == []
    with trip.relay.operator("replay:write") as operator:
        assert operator.post("/replay", json={"status": "applied"}).status_code == 202
    trip.relay.await_settled()
    assert trip.read_chat(as_user) == ["Tram 28 at nine?"]


def test_membership_before_its_trip_is_applied_after_the_trip(
    relay: RelayProcess, service_role: httpx.Client
) -> None:
    trip, user = str(uuid.uuid4()), str(uuid.uuid4())
    row = {"trip_id": trip, "user_id": user, "role": "MEMBER", "status": "ACTIVE"}
    early = relay.post("membership.created", row, wait=0)
    assert early.status_code == 202
    relay.post("user.created", {"id": user, "email": "a@example.com", "username": "a"}, wait=0)
    relay.post("trip.created", {"id": trip, "name": "Lisbon", "created_by": user}, wait=0)
    relay.await_settled()
    answer = service_role.get("trip_memberships", params={"trip_id": f"eq.{trip}"})
    assert answer.json() == [row]


def test_batch_of_a_backfill_is_applied_completely(
    relay: RelayProcess, service_role: httpx.Client
) -> None:
    trip, owner = str(uuid.uuid4()), str(uuid.uuid4())
    users = [str(uuid.uuid4()) for _ in range(300)]
    now = datetime.now(UTC).isoformat()
    changes = [
        *(
            ("membership.created", {"trip_id": trip, "user_id": user, "role": "MEMBER"})
            for user in users
        ),
        ("trip.created", {"id": trip, "name": "Lisbon", "created_by": owner}),
        *(("user.created", {"id": user, "email": f"{user}@x", "username": user}) for user in users),
    ]
    events = [
        {
            "id": f"backfill-{n}-{trip}",
            "type": event_type,
            "timestamp": now,
            "data": data | ({"status": "ACTIVE"} if "role" in data else {}),
        }
        for n, (event_type, data) in enumerate(changes)
    ]
    body = json.dumps({"events": events}).encode()
    answer = relay.post_body(body, sign_body(relay.secret, body), "/webhooks/batch")
    assert answer.status_code == 202
    assert {result["status"] for result in answer.json()["results"]} == {"accepted"}
    relay.await_settled()
    rows = service_role.get("trip_memberships", params={"trip_id": f"eq.{trip}"}).json()
    assert sorted(row["user_id"] for row in rows) == sorted(users)
    assert relay.health()["backlog"]["dead"] == 0


def test_relay_started_without_supabase_accepts_survives_a_kill_and_catches_up(
    make_relay: RelayMaker, local_supabase: LocalSupabase, service_role: httpx.Client
) -> None:
    relay = make_relay(
        SUPABASE_URL=f"http://127.0.0.1:{find_free_port()}",
        SUPABASE_SECRET_KEY=local_supabase.secret_key,
    )
    user = str(uuid.uuid4())
    row = {"id": user, "email": "a@example.com", "username": "a"}
    answer = relay.post("user.created", row, wait=1)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    health = relay.health()
    assert health["status"] == "degraded"
    assert "unreachable" in health["checks"]["supabase"]["reason"]
    assert relay.stop(signal.SIGKILL) == -signal.SIGKILL
    relay.settings = {
        "SUPABASE_URL": local_supabase.url,
        "SUPABASE_SECRET_KEY": local_supabase.secret_key,
    }
    relay.start()
    relay.await_settled()
    assert service_role.get("users", params={"id": f"eq.{user}"}).json() == [row]
    assert relay.health()["status"] == "ok"


def test_relay_with_a_wrong_key_reports_it_and_loses_no_event(
    make_relay: RelayMaker, local_supabase: LocalSupabase
) -> None:
    relay = make_relay(SUPABASE_URL=local_supabase.url, SUPABASE_SECRET_KEY="sb_secret_of_another")
    answer = relay.post(
        "user.created", {"id": str(uuid.uuid4()), "email": "a@example.com", "username": "a"}, wait=1
    )
    assert answer.status_code == 202
    health = relay.health()
    assert health["status"] == "degraded"
    assert "rejects the relay's requests" in health["checks"]["supabase"]["reason"]
    assert health["backlog"]["pending"] == 1
    assert health["backlog"]["dead"] == 0


def test_relay_stopped_under_load_keeps_every_acknowledged_event(
    own_relay: RelayProcess, service_role: httpx.Client
) -> None:
    acknowledged: list[str] = []
    under_load = threading.Event()

    def post_until_it_ends() -> None:
        while True:
            user = str(uuid.uuid4())
            row = {"id": user, "email": f"{user}@x", "username": user}
            try:
                answer = own_relay.post("user.created", row, wait=0)
            except httpx.TransportError:
                return
            if answer.is_success:
                acknowledged.append(user)
            if len(acknowledged) > 50:
                under_load.set()

    senders = [threading.Thread(target=post_until_it_ends) for _ in range(4)]
    for sender in senders:
        sender.start()
    assert under_load.wait(30)
    started = time.monotonic()
    assert own_relay.stop() == 0
    # SHUTDOWN_SECONDS is 8.
    assert time.monotonic() - started < 12
    for sender in senders:
        sender.join()
    own_relay.start()
    own_relay.await_settled()
    # By id: a response holds at most 1,000 rows, and other tests write users as well.
    for start in range(0, len(acknowledged), 100):
        chunk = acknowledged[start : start + 100]
        query = {"select": "id", "id": f"in.({','.join(chunk)})"}
        held = {row["id"] for row in service_role.get("users", params=query).json()}
        assert held == set(chunk)
