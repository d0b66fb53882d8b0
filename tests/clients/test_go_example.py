"""clients/go/example end to end: PostgreSQL, the example, a relay, Supabase, and its users."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from app.demo.local_supabase import LocalSupabase
from tests.docs.conftest import SECRET, UNREACHABLE, run_relay
from tests.docs.pages import read_region
from tests.golang import GO_MODULE, GO_SECONDS, require_module, run_go
from tests.loopback import NO_TLS
from tests.postgres import PostgresServer

EXAMPLE = GO_MODULE / "example"
START_SECONDS = 60.0
SETTLE_SECONDS = 30.0

pytestmark = pytest.mark.timeout(GO_SECONDS + 60)


class Backend:
    """The running example.

    Attributes:
        database_url: of its PostgreSQL.
    """

    def __init__(self, client: httpx.Client, database_url: str) -> None:
        self.database_url = database_url
        self._client = client

    def call(self, method: str, path: str, **body: str) -> Any:
        """Call an operation that must succeed, and return the body of its response."""
        response = self._client.request(method, path, json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None

    def create_user(self) -> str:
        user_id = str(uuid4())
        self.call("POST", "users", id=user_id, email=f"{user_id}@example.com", username=user_id)
        return user_id

    def count_unsent(self) -> int:
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute("select count(*) from relay_outbox").fetchone()
        return int(row[0]) if row else 0


@contextmanager
def run_backend(
    folder: Path, database_url: str, relay_url: str, *, creates_tables: bool = True
) -> Iterator[Backend]:
    """Run the example on a free port until the block ends."""
    program, log = folder / "example", folder / "example.log"
    run_go("build", "-o", str(program), ".", folder=EXAMPLE)
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "DIRECT_DATABASE_URL": database_url,
        "CREATE_TABLES": "1" if creates_tables else "",
        "RELAY_URL": relay_url,
        "RELAY_WEBHOOK_SECRET": SECRET,
        "ADDRESS": "127.0.0.1:0",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - built above
            [program], cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while (found := re.search(r"listening on (http://\S+)", log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        url = f"{found[1]}/v1/"
        with httpx.Client(base_url=url, trust_env=False, verify=NO_TLS, timeout=30) as client:
            yield Backend(client, database_url)
        process.terminate()
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(60)


@pytest.fixture
def backend(
    tmp_path: Path, postgres: PostgresServer, local_supabase: LocalSupabase
) -> Iterator[Backend]:
    require_module(EXAMPLE)
    with (
        run_relay(
            tmp_path, local_supabase.url, SUPABASE_SECRET_KEY=local_supabase.secret_key
        ) as relay,
        run_backend(tmp_path, postgres.create_database(), relay.url) as running,
    ):
        yield running


def await_that(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_example_passes_its_tests(postgres: PostgresServer) -> None:
    require_module(EXAMPLE)
    output = run_go(
        *("test", "-count=1", "-v", "./..."),
        folder=EXAMPLE,
        environment={"TEST_DATABASE_URL": postgres.create_database()},
    )
    assert "--- SKIP" not in output
    assert output.count("--- PASS") == 3


def test_every_call_site_reaches_supabase_and_a_removed_member_reads_nothing(
    backend: Backend, service_role: httpx.Client, as_user: Callable[[UUID], httpx.Client]
) -> None:
    def read(table: str, **key: str) -> list[dict[str, Any]]:
        response = service_role.get(table, params={name: f"eq.{key[name]}" for name in key})
        rows: list[dict[str, Any]] = response.raise_for_status().json()
        return rows

    owner, member = backend.create_user(), backend.create_user()
    backend.call("PATCH", f"users/{member}", username=f"renamed {member}")
    trip: str = backend.call("POST", "trips", name="Lisbon", created_by=owner)["id"]
    path = f"trips/{trip}/members/{member}"
    backend.call("PUT", path, role="MEMBER")
    backend.call("PATCH", path, role="ADMIN")
    backend.call("PATCH", f"trips/{trip}", name="Porto")

    membership = {"trip_id": trip, "user_id": member, "role": "ADMIN", "status": "ACTIVE"}
    await_that(lambda: read("trip_memberships", trip_id=trip, user_id=member) == [membership])
    await_that(lambda: [row["name"] for row in read("trips", id=trip)] == ["Porto"])
    await_that(
        lambda: [row["username"] for row in read("users", id=member)] == [f"renamed {member}"]
    )
    assert len(read("trip_memberships", trip_id=trip)) == 2  # the owner's, too

    message = {"trip_id": trip, "user_id": owner, "body": "Tram 28 at nine?"}
    service_role.post("chat_messages", json=message).raise_for_status()

    def read_chat() -> list[str]:
        response = as_user(UUID(member)).get("chat_messages", params={"trip_id": f"eq.{trip}"})
        return [row["body"] for row in response.raise_for_status().json()]

    assert read_chat() == ["Tram 28 at nine?"]
    assert backend.call("DELETE", path) == {"removal": "applied"}
    assert read_chat() == []  # at once: the backend has said that it is in force

    backend.call("DELETE", f"users/{member}")
    backend.call("DELETE", f"trips/{trip}")
    await_that(lambda: read("users", id=member) == read("trips", id=trip) == [])
    await_that(lambda: backend.count_unsent() == 0)


def test_removal_while_the_relay_is_unavailable_is_pending_and_sent_later(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    require_module(EXAMPLE)
    database_url = postgres.create_database()
    with run_backend(tmp_path, database_url, UNREACHABLE) as backend:
        owner, member = backend.create_user(), backend.create_user()
        trip = backend.call("POST", "trips", name="Lisbon", created_by=owner)["id"]
        backend.call("PUT", f"trips/{trip}/members/{member}", role="MEMBER")
        removal = backend.call("DELETE", f"trips/{trip}/members/{member}")
        assert removal == {"removal": "pending"}
        assert backend.count_unsent() == 6
    with (
        run_relay(tmp_path, UNREACHABLE) as relay,
        run_backend(tmp_path, database_url, relay.url, creates_tables=False) as backend,
    ):
        await_that(lambda: backend.count_unsent() == 0)


def test_backfill_of_existing_rows_is_accepted_completely(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    require_module(EXAMPLE)
    database_url = postgres.create_database()
    with (
        run_relay(tmp_path, UNREACHABLE) as relay,
        run_backend(tmp_path, database_url, relay.url) as backend,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        connection.execute("""
            insert into users select gen_random_uuid(), 'e' || n, 'u' || n
              from generate_series(1, 1200) n;
            insert into trips (name) values ('without a creator');
            insert into trip_memberships (trip_id, user_id, role)
              select trips.id, users.id, 'MEMBER' from trips, users""")
        connection.execute(read_region("sql/backfill.sql#backfill").encode())
        await_that(lambda: backend.count_unsent() == 0)  # and nothing is parked
