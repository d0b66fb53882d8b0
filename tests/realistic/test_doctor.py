"""`relay doctor` and `relay access` on an existing project with and without open policies."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.demo.local_supabase import CHECKOUT, LocalSupabase, run_local_supabase
from app.supabase.migration_files import list_function_files
from tests.cli.process import name_settings, read_json, run_relay_command
from tests.local import open_rest
from tests.postgres import PostgresServer
from tests.realistic.conftest import MIGRATIONS, Project, write_settings

KEEP = {"inactive": "keep"}
TABLES = ("profiles", "trips", "trip_members")
VERBS = ("reads", "writes")
# A fault of the project: PostgreSQL searches all messages for each deleted trip.
NO_INDEX = "foreign-key-index:chat_messages.chat_messages_trip_id_fkey"
Findings = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def open_supabase(postgres: PostgresServer) -> Iterator[LocalSupabase]:
    """The same project without Row Level Security, with one member of a trip."""
    database_url = postgres.create_database()
    with run_local_supabase(
        migrations=MIGRATIONS,
        extra_sql=[*list_function_files(), Path(__file__).with_name("open.sql")],
        postgres_url=database_url,
    ) as supabase:
        with open_rest(supabase, supabase.secret_key) as tables:
            user, trip = str(uuid.uuid4()), str(uuid.uuid4())
            tables.post("rpc/sign_up", json={"id": user}).raise_for_status()
            for table, row in {
                "profiles": {
                    "id": user,
                    "supabase_id": user,
                    "email": "ana@example.com",
                    "username": "ana",
                    "display_name": "Ana",
                },
                "trips": {
                    "id": trip,
                    "title": "Lisbon",
                    "created_by": user,
                    "start_date": "2026-05-01",
                    "end_date": "2026-05-08",
                    "destination_latitude": 38.7,
                    "destination_longitude": -9.1,
                },
                "trip_members": {
                    "trip_id": trip,
                    "member_id": user,
                    "role": "OWNER",
                    "status": "ACTIVE",
                },
            }.items():
                tables.post(table, json=row).raise_for_status()
        yield supabase


def check(folder: Path, settings: dict[str, str]) -> tuple[int, Findings]:
    done = run_relay_command(folder, settings, "doctor", "--json")
    assert done.stderr == ""
    document = read_json(done)
    return done.returncode, {finding["check"]: finding for finding in document["findings"]}


def name_problems(findings: Findings) -> set[str]:
    return {check for check, finding in findings.items() if finding["status"] == "problem"}


def name_all_settings(supabase: LocalSupabase, **changes: dict[str, Any]) -> dict[str, str]:
    return {
        **name_settings(supabase),
        **write_settings(supabase, **changes),
        "SUPABASE_DB_URL": str(supabase.database_url),
    }


def test_open_tables_are_found_with_url_and_keys_alone_and_closed_by_the_printed_fix(
    open_supabase: LocalSupabase, tmp_path: Path
) -> None:
    settings = write_settings(open_supabase) | {
        "SUPABASE_PUBLISHABLE_KEY": open_supabase.publishable_key
    }
    code, findings = check(tmp_path, settings)
    holes = {f"reads-by-anon:{table}" for table in TABLES}
    assert code == 1
    assert holes <= name_problems(findings)

    # With the catalog: the first fixes turn Row Level Security on, the second narrow a policy.
    deep = name_all_settings(open_supabase)
    page = (CHECKOUT / "docs" / "guides" / "supabase.md").read_text()
    wanted = re.search(r"^```text\n(problem: .*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert wanted is not None
    assert wanted[1] in run_relay_command(tmp_path, deep, "doctor").stdout
    code, findings = check(tmp_path, deep)
    roles = ("anon", "authenticated")
    assert name_problems(findings) == {
        *(f"{verb}-by-{role}:{name}" for verb in VERBS for role in roles for name in TABLES),
        NO_INDEX,
        "privileges:chat_messages",
    }
    run_fixes(open_supabase, findings)
    code, findings = check(tmp_path, deep)
    assert name_problems(findings) == {"reads-by-authenticated:profiles"}
    assert (
        'by policy "people see one another"' in findings["reads-by-authenticated:profiles"]["what"]
    )
    run_fixes(open_supabase, findings)
    code, findings = check(tmp_path, deep)
    assert (code, name_problems(findings)) == (0, set())


def run_fixes(supabase: LocalSupabase, findings: Findings) -> None:
    scripts = {
        finding["fix"]["text"] for finding in findings.values() if finding["status"] == "problem"
    }
    with psycopg.connect(str(supabase.database_url), autocommit=True) as connection:
        for script in sorted(scripts):
            connection.execute(script.encode())


def test_policies_that_ignore_the_status_are_found_unless_the_relay_removes_inactive_rows(
    project: Project, realistic_supabase: LocalSupabase, tmp_path: Path
) -> None:
    owner, former = project.sign_up(), project.sign_up()
    project.add_user(former, "former")
    trip = project.add_trip(owner)
    row = {"trip_id": trip, "member_id": former, "role": "MEMBER", "status": "INACTIVE"}
    project.tables.post("trip_members", json=row).raise_for_status()
    keeping = name_all_settings(realistic_supabase, TARGET_MEMBERSHIPS=KEEP)

    _, deep = check(tmp_path, keeping)
    _, shallow = check(tmp_path, keeping | {"SUPABASE_DB_URL": ""})

    ignoring = {check for check in name_problems(deep) if check.startswith("status:")}
    assert ignoring == {"status:trips", "status:chat_messages"}
    assert shallow["status"]["what"] == (
        "A member who is not ACTIVE still reads trips, chat_messages."
    )
    assert "remove" in shallow["status"]["fix"]["text"]

    _, findings = check(tmp_path, name_all_settings(realistic_supabase))
    assert not {check for check in name_problems(findings) if check.startswith("status")}
    # The project lets signed-in users see one another; the doctor reports that all the same.
    assert name_problems(findings) == {
        "reads-by-authenticated:profiles",
        NO_INDEX,
        *(f"privileges:{table}" for table in (*TABLES, "chat_messages")),
    }
    assert findings["status"]["what"].startswith(
        "The relay removes memberships that are not ACTIVE"
    )


def test_access_is_explained_in_tables_of_other_names(
    project: Project, realistic_supabase: LocalSupabase, tmp_path: Path
) -> None:
    owner, user = project.sign_up(), project.sign_up()
    project.add_user(user, "cy")
    trip = project.add_trip(owner)
    ids = {"trip_id": trip, "user_id": user, "role": "MEMBER"}
    settings = name_all_settings(realistic_supabase) | {
        "RELAY_URL": project.relay.url,
        "JWT_SECRET": project.relay.environment()["JWT_SECRET"],
    }

    def ask() -> tuple[int, str]:
        done = run_relay_command(
            tmp_path, settings, "access", "--user", user, "--trip", trip, "--json"
        )
        document = json.loads(done.stdout)
        # The local Supabase has no Realtime.
        assert [topic["join"] for topic in document["topics"]] == [None, None]
        assert f"trip:{trip}" == document["topics"][0]["topic"]
        return done.returncode, document["sentence"]

    project.change("membership.created", **ids, status="ACTIVE")
    assert ask()[0] == 0
    project.change("membership.updated", **ids, status="INACTIVE")
    code, sentence = ask()
    assert code == 1
    assert "is not ACTIVE and TARGET_MEMBERSHIPS removes such rows" in sentence
