"""An existing project, and a relay that is configured for its tables."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from app.auth.tokens import mint_token
from app.demo.local_supabase import LocalSupabase, run_local_supabase
from app.supabase.migration_files import list_function_files
from tests.e2e.conftest import RelayMaker, RelayProcess, run_relays
from tests.local import open_rest
from tests.postgres import PostgresServer

MIGRATIONS: Final = Path(__file__).parent / "migrations"
TARGETS: Final[dict[str, dict[str, Any]]] = {
    "TARGET_USERS": {
        "table": "public.profiles",
        "copy": {"supabase_id": "id"},
        "constants": {"deleted_at": None},
        "extra": {"displayName": "display_name", "avatarUrl": "avatar_url"},
    },
    "TARGET_TRIPS": {
        "columns": {"name": "title"},
        "constants": {"deleted_at": None},
        "extra": {
            "startDate": "start_date",
            "endDate": "end_date",
            "destinationLatitude": "destination_latitude",
            "destinationLongitude": "destination_longitude",
        },
    },
    "TARGET_MEMBERSHIPS": {
        "table": "trip_members",
        "columns": {"user_id": "member_id"},
        "constants": {"deleted_at": None},
        "inactive": "remove",
    },
}
PLACE_AND_TIME: Final[dict[str, Any]] = {
    "startDate": "2026-05-01",
    "endDate": "2026-05-08",
    "destinationLatitude": 38.7223,
    "destinationLongitude": -9.1393,
}
WRITTEN_PLACE_AND_TIME: Final[dict[str, Any]] = {
    "start_date": "2026-05-01",
    "end_date": "2026-05-08",
    "destination_latitude": 38.7223,
    "destination_longitude": -9.1393,
}


@pytest.fixture(scope="session")
def realistic_supabase(postgres: PostgresServer) -> Iterator[LocalSupabase]:
    """The project's Supabase, over a PostgreSQL whose catalog can be read."""
    with run_local_supabase(
        migrations=MIGRATIONS,
        extra_sql=list_function_files(),
        postgres_url=postgres.create_database(),
    ) as supabase:
        yield supabase


def write_settings(supabase: LocalSupabase, **changes: dict[str, Any]) -> dict[str, str]:
    """Return the settings of the configured relay, with `changes` to parts of a target."""
    return {
        "SUPABASE_URL": supabase.url,
        "SUPABASE_SECRET_KEY": supabase.secret_key,
        **{name: json.dumps(target | changes.get(name, {})) for name, target in TARGETS.items()},
    }


@dataclass(frozen=True)
class Project:
    """The configured relay, its tables, and the users.

    Attributes:
        relay: a process of its own.
        tables: PostgREST as service_role.
        read_as: PostgREST as a signed-in user.
    """

    relay: RelayProcess
    tables: httpx.Client
    read_as: Callable[[str], httpx.Client]

    def sign_up(self, user: str | None = None) -> str:
        """Sign a user up, which adds them to `auth.users`."""
        user = user or str(uuid.uuid4())
        self.tables.post("rpc/sign_up", json={"id": user}).raise_for_status()
        return user

    def change(self, event_type: str, **data: Any) -> None:
        """Send a change and check that it is applied."""
        answer = self.relay.post(event_type, data)
        assert (answer.status_code, answer.json()["status"]) == (200, "applied"), answer.text

    def look_up(self, event_type: str, **data: Any) -> dict[str, Any]:
        """Send a change that is not applied, and return its event as the relay reports it."""
        answer = self.relay.post(event_type, data, wait=2)
        with self.relay.operator("events:read") as operator:
            event: dict[str, Any] = operator.get(f"/events/{answer.json()['event_id']}").json()
        return event

    def add_user(self, user: str, name: str, **extra: Any) -> None:
        """Create a user; the id makes names unique."""
        row = {"id": user, "email": f"{name}-{user}@example.com", "username": f"{name}-{user}"}
        self.change(
            "user.created", **row, **{"displayName": name.title(), "avatarUrl": None} | extra
        )

    def add_trip(self, owner: str) -> str:
        """Create a trip with a message in its chat."""
        trip = str(uuid.uuid4())
        self.change("trip.created", id=trip, name="Lisbon", created_by=owner, **PLACE_AND_TIME)
        self.say(trip)
        return trip

    def say(self, trip: str) -> None:
        message = {"trip_id": trip, "body": "Tram 28 at nine?"}
        self.tables.post("chat_messages", json=message).raise_for_status()

    def read_chat(self, user: str, trip: str) -> list[str]:
        """Read a trip's chat as a user, through Row Level Security."""
        answer = self.read_as(user).get("chat_messages", params={"trip_id": f"eq.{trip}"})
        assert answer.status_code == httpx.codes.OK, answer.text
        return [row["body"] for row in answer.json()]

    def rows(self, table: str, **filters: str) -> list[dict[str, Any]]:
        """Return rows, past Row Level Security."""
        params = {"select": "*"} | {name: f"eq.{value}" for name, value in filters.items()}
        rows: list[dict[str, Any]] = self.tables.get(table, params=params).raise_for_status().json()
        return rows

    def touch(self, table: str, column: str, value: str, change: dict[str, Any]) -> None:
        """Change a row without the relay."""
        self.tables.patch(table, params={column: f"eq.{value}"}, json=change).raise_for_status()


@pytest.fixture
def make_relay(tmp_path: Path) -> Iterator[RelayMaker]:
    """Start relays that end with the test."""
    with run_relays(tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, realistic_supabase: LocalSupabase
) -> Iterator[Project]:
    """Shared by a file of tests: use fresh ids."""
    with ExitStack() as stack:
        make = stack.enter_context(run_relays(tmp_path_factory.mktemp("relays")))

        def read_as(user: str) -> httpx.Client:
            claims = {"sub": user, "role": "authenticated", "aud": "authenticated"}
            token = mint_token(
                claims | {"exp": int(time.time()) + 3600}, secret=realistic_supabase.jwt_secret
            )
            publishable = realistic_supabase.publishable_key
            return stack.enter_context(open_rest(realistic_supabase, publishable, user_token=token))

        yield Project(
            make(**write_settings(realistic_supabase)),
            stack.enter_context(open_rest(realistic_supabase, realistic_supabase.secret_key)),
            read_as,
        )
