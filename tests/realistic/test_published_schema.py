"""The relay and the policy pack on a backend's own tables: what a member reads and is told."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from app.demo.local_supabase import LocalSupabase, run_local_supabase
from app.supabase.migration_files import list_function_files
from tests.cli.process import name_settings, read_json, run_relay_command
from tests.contract.database import HOSTED, PUBLISHED, write_published_pack
from tests.e2e.conftest import RelayMaker, RelayProcess
from tests.postgres import PostgresServer

TARGETS: Final[dict[str, dict[str, Any]]] = {
    "TARGET_USERS": {"copy": {"supabase_id": "id"}},
    "TARGET_TRIPS": {
        "constants": {"deleted_at": None},
        "extra": [
            "start_date",
            "end_date",
            "destination_latitude",
            "destination_longitude",
        ],
    },
    "TARGET_MEMBERSHIPS": {"constants": {"deleted_at": None}},
}
PLACE_AND_TIME: Final = {
    "start_date": "2026-05-01",
    "end_date": "2026-05-08",
    "destination_latitude": 38.7223,
    "destination_longitude": -9.1393,
}


@pytest.fixture(scope="module")
def published_supabase(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalSupabase]:
    """The backend's Supabase, with Realtime's tables and the pack of the documentation."""
    folder = tmp_path_factory.mktemp("migrations")
    # The local Supabase has its own `auth`.
    realtime = HOSTED.read_text().partition("create schema realtime;")
    (folder / "20250101000000_realtime.sql").write_text("".join(realtime[1:]))
    (folder / "20250101000001_schema.sql").write_text(PUBLISHED.read_text())
    (folder / "20250101000002_pack.sql").write_text(write_published_pack())
    with run_local_supabase(
        migrations=folder,
        extra_sql=list_function_files(),
        postgres_url=postgres.create_database(),
    ) as supabase:
        yield supabase


@pytest.fixture
def settings(published_supabase: LocalSupabase) -> dict[str, str]:
    return {
        **name_settings(published_supabase),
        **{name: json.dumps(target) for name, target in TARGETS.items()},
        "SUPABASE_DB_URL": str(published_supabase.database_url),
    }


def change(relay: RelayProcess, event_type: str, **data: Any) -> None:
    response = relay.post(event_type, data)
    assert (response.status_code, response.json()["status"]) == (200, "applied"), response.text


def test_members_are_told_until_the_relay_has_revoked_their_membership(
    published_supabase: LocalSupabase, settings: dict[str, str], make_relay: RelayMaker
) -> None:
    targets = {name: value for name, value in settings.items() if name.startswith("TARGET_")}
    relay = make_relay(
        SUPABASE_URL=published_supabase.url,
        SUPABASE_SECRET_KEY=published_supabase.secret_key,
        **targets,
    )
    ana, bo, trip = (str(uuid.uuid4()) for _ in range(3))
    for name, user in (("ana", ana), ("bo", bo)):
        change(relay, "user.created", id=user, email=f"{name}@example.com", username=name)
    change(relay, "trip.created", id=trip, name="Lisbon", created_by=ana, **PLACE_AND_TIME)
    with psycopg.connect(str(published_supabase.database_url), autocommit=True) as connection:

        def read_sent() -> set[tuple[str, str]]:
            rows = connection.execute("select event, topic from realtime.messages").fetchall()
            connection.execute("delete from realtime.messages")
            return {(event, topic.removeprefix("user:")) for event, topic in rows}

        def say() -> None:
            connection.execute(
                "insert into supabase_chat_messages (trip_id, user_id, message)"
                " values (%s, %s, 'Tram 28 at nine?')",
                (trip, ana),
            )

        for user in (ana, bo):
            row = {"trip_id": trip, "user_id": user, "role": "MEMBER", "status": "ACTIVE"}
            change(relay, "membership.created", **row)
        assert ("access.granted", bo) in read_sent()
        say()
        assert read_sent() == {("message.created", ana), ("message.created", bo)}

        change(relay, "membership.deleted", trip_id=trip, user_id=bo)

        assert read_sent() == {("access.revoked", bo), ("member.removed", ana)}
        say()
        assert read_sent() == {("message.created", ana)}
        change(relay, "trip.deleted", id=trip)
        assert read_sent() == {("access.revoked", ana)}
        change(relay, "user.deleted", id=ana)
        assert connection.execute("select id::text from users").fetchall() == [(bo,)]


def test_doctor_finds_no_problem_in_the_tables_with_the_pack(
    settings: dict[str, str], tmp_path: Path
) -> None:
    done = run_relay_command(tmp_path, settings, "doctor", "--json")

    problems = [it for it in read_json(done)["findings"] if it["status"] == "problem"]
    assert problems == []
