"""`relay access` with a real relay and a real Supabase."""

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.demo.local_supabase import LocalSupabase
from tests.cli.process import name_settings, run_relay_command
from tests.e2e.conftest import JWT_SECRET, RelayMaker, RelayProcess, await_that

SETTLE_SECONDS = 60.0


@dataclass
class Trip:
    """A trip with a message in its chat, and a user who is not in it.

    Attributes:
        settings: of the machine from which is asked.
    """

    relay: RelayProcess
    settings: dict[str, str]
    folder: Path
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    user: str = field(default_factory=lambda: str(uuid.uuid4()))

    def change(self, event_type: str, *, wait: int = 10, **data: str) -> None:
        answer = self.relay.post(event_type, data, wait=wait)
        assert answer.is_success, answer.text

    def move_member(self, event_type: str, status: str = "ACTIVE", *, wait: int = 10) -> None:
        ids = {"trip_id": self.id, "user_id": self.user}
        row = {} if event_type == "membership.deleted" else {"role": "MEMBER", "status": status}
        self.change(event_type, wait=wait, **ids, **row)

    def ask(self, **changed: str) -> tuple[int, dict[str, Any]]:
        """Return the exit code and the JSON document."""
        settings = {**self.settings, "RELAY_URL": self.relay.url, **changed}
        question = ("access", "--user", self.user, "--trip", self.id)
        done = run_relay_command(self.folder, settings, *question, "--json")
        assert done.stderr == ""
        answer: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, answer


def make_trip(
    relay: RelayProcess,
    settings: dict[str, str],
    folder: Path,
    service_role: httpx.Client,
    **ids: str,
) -> Trip:
    trip, owner = Trip(relay, settings, folder, **ids), str(uuid.uuid4())
    for user in (owner, trip.user):
        trip.change("user.created", id=user, email=f"{user}@example.com", username=user)
    trip.change("trip.created", id=trip.id, name="Lisbon", created_by=owner)
    message = {"trip_id": trip.id, "user_id": owner, "body": "Tram 28 at nine?"}
    service_role.post("chat_messages", json=message).raise_for_status()
    return trip


@pytest.fixture
def settings(local_supabase: LocalSupabase) -> dict[str, str]:
    return name_settings(local_supabase) | {"JWT_SECRET": JWT_SECRET}


@pytest.fixture
def trip(
    relay: RelayProcess, settings: dict[str, str], tmp_path: Path, service_role: httpx.Client
) -> Trip:
    return make_trip(relay, settings, tmp_path, service_role)


def test_user_without_an_event_is_denied(trip: Trip) -> None:
    code, answer = trip.ask()

    assert (code, answer["verdict"]) == (1, "denied")
    assert answer["sentence"] == (
        "Denied: the membership is missing in Supabase; the relay has received no event about it"
        " from the backend."
    )
    assert answer["relay_error"] is None


def test_member_is_allowed_until_inactive_with_the_time_of_the_change(trip: Trip) -> None:
    trip.move_member("membership.created")
    code, answer = trip.ask()
    assert (code, answer["verdict"]) == (0, "allowed")
    assert answer["membership"] == {"role": "MEMBER", "status": "ACTIVE"}
    assert (answer["desired"]["state"], answer["desired"]["is_removed"]) == ("applied", False)
    outcomes = {reading["table"]: reading["outcome"] for reading in answer["readings"]}
    assert outcomes["trips"] == outcomes["chat_messages"] == "allowed"

    trip.move_member("membership.updated", "INACTIVE")
    code, answer = trip.ask()
    assert code == 1
    assert answer["desired"]["event_type"] == "membership.updated"
    assert answer["sentence"] == (
        "Denied: the membership is INACTIVE in Supabase, which is the desired state since"
        f" {answer['desired']['desired_version_at']}."
    )


@pytest.mark.parametrize(
    ("event_type", "also_missing"),
    [
        ("membership.deleted", ""),
        ("user.deleted", " The user is missing, too."),
        ("trip.deleted", " The trip is missing, too."),
    ],
)
def test_removed_member_is_denied_with_the_missing_rows(
    trip: Trip, event_type: str, also_missing: str
) -> None:
    trip.move_member("membership.created")
    if event_type == "membership.deleted":
        trip.move_member(event_type)
    else:
        trip.change(event_type, id=trip.user if event_type == "user.deleted" else trip.id)
    trip.relay.await_settled()

    code, answer = trip.ask()

    assert (code, answer["desired"]["is_removed"]) == (1, True)
    assert answer["sentence"] == (
        "Denied: the membership is missing in Supabase, which is the desired state since"
        f" {answer['desired']['desired_version_at']}.{also_missing}"
    )


def test_pending_change_is_reported_for_grants_and_revocations(
    make_relay: RelayMaker,
    local_supabase: LocalSupabase,
    settings: dict[str, str],
    tmp_path: Path,
    service_role: httpx.Client,
) -> None:
    relay = make_relay(
        SUPABASE_URL=local_supabase.url, SUPABASE_SECRET_KEY=local_supabase.secret_key
    )
    trip = make_trip(relay, settings, tmp_path, service_role)
    trip.move_member("membership.created")
    # The same store, and a key that Supabase rejects: from now on the relay cannot write.
    relay.stop()
    relay.settings = {**relay.settings, "SUPABASE_SECRET_KEY": "sb_secret_of_another_project"}
    relay.start()
    trip.move_member("membership.deleted", wait=0)

    code, answer = trip.ask()
    assert (code, answer["desired"]["state"]) == (0, "pending")
    assert answer["sentence"].startswith(
        "Allowed at the moment. Supabase is behind: the removal of the membership of"
        f" {answer['desired']['desired_version_at']} is pending since"
    )

    relay.stop()
    relay.settings = {**relay.settings, "SUPABASE_SECRET_KEY": local_supabase.secret_key}
    relay.start()
    await_that(lambda: relay.health()["backlog"]["pending"] == 0, SETTLE_SECONDS)
    assert trip.ask()[1]["sentence"].startswith("Denied: the membership is missing in")


def test_unreachable_relay_is_reported_without_a_failure(trip: Trip) -> None:
    trip.move_member("membership.created")

    for changed, silence in (
        ({"RELAY_URL": "http://127.0.0.1:9"}, "no relay responds at http://127.0.0.1:9"),
        ({"JWT_SECRET": ""}, "JWT_SECRET"),
        ({"JWT_SECRET": f"not {JWT_SECRET}"}, "does not accept"),
        ({"RELAY_TOKEN": "nonsense"}, "does not accept"),
    ):
        code, answer = trip.ask(**changed)
        assert (code, answer["desired"]) == (0, None)
        assert silence in answer["relay_error"]
