"""The local Supabase starts, serves, and leaves no files or processes behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import httpx
import psycopg
import pytest

from app.demo.local_supabase import CHECKOUT, LocalSupabase, run_local_supabase
from app.demo.node import LocalSupabaseError, build_once, find_node, run_command, run_process
from tests.local import open_as_user, open_rest
from tests.postgres import PostgresServer

GONE_SECONDS = 60.0

KILLED_PARENT = """
import os, signal
from app.demo.local_supabase import run_local_supabase
with run_local_supabase() as supabase:
    print(supabase.pid, os.readlink(f"/proc/{supabase.pid}/cwd"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    # An orphan stays a zombie if process 1 of the container does not wait for it.
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


def accepts_connections(url: str) -> bool:
    parts = httpx.URL(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.host, parts.port)) == 0


def read_users(supabase: LocalSupabase, headers: dict[str, str]) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.get(f"{supabase.url}/rest/v1/users", headers=headers)


def test_local_supabase_serves_and_ends_with_the_block() -> None:
    with run_local_supabase() as supabase:
        assert read_users(supabase, {"apikey": supabase.secret_key}).json() == []
        assert read_users(supabase, {}).status_code == 401
        # In a session of its own, Ctrl-C does not reach it.
        assert os.getsid(supabase.pid) == supabase.pid

    assert not is_alive(supabase.pid)
    assert not accepts_connections(supabase.url)


def test_local_supabase_whose_body_raises_is_stopped() -> None:
    def start_and_interrupt() -> LocalSupabase:
        with run_local_supabase() as supabase:
            seen.append(supabase)
            raise KeyboardInterrupt

    seen: list[LocalSupabase] = []
    with pytest.raises(KeyboardInterrupt):
        start_and_interrupt()

    assert not is_alive(seen[0].pid)
    assert not accepts_connections(seen[0].url)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the directory through /proc")
def test_local_supabase_whose_parent_is_killed_ends_and_removes_its_files() -> None:
    parent = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", KILLED_PARENT],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    pid, project = parent.stdout.split()

    deadline = time.monotonic() + GONE_SECONDS
    while is_alive(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(int(pid))
    assert not Path(project).parent.exists()


def test_local_supabase_started_twice_shares_nothing() -> None:
    with run_local_supabase() as first, run_local_supabase() as second:
        user = {"id": "123e4567-e89b-12d3-a456-426614174000", "email": "a@b.c", "username": "a"}
        with httpx.Client(trust_env=False) as client:
            client.post(
                f"{first.url}/rest/v1/users", json=user, headers={"apikey": first.secret_key}
            ).raise_for_status()

        assert first.jwt_secret != second.jwt_secret
        assert read_users(first, {"apikey": first.secret_key}).json() == [user]
        assert read_users(second, {"apikey": second.secret_key}).json() == []
        assert read_users(second, {"apikey": first.secret_key}).status_code == 401


def test_local_supabase_with_extra_sql_has_it_applied(tmp_path: Path) -> None:
    extra = tmp_path / "extra.sql"
    extra.write_text("alter table public.users add column supabase_id uuid not null unique;\n")

    with run_local_supabase(extra_sql=[extra]) as supabase, httpx.Client(trust_env=False) as client:
        answer = client.get(
            f"{supabase.url}/rest/v1/users",
            params={"select": "supabase_id"},
            headers={"apikey": supabase.secret_key},
        )
    assert (answer.status_code, answer.json()) == (200, [])


def test_local_supabase_over_postgres_shows_a_chat_to_its_members_only(
    supabase_over_postgres: LocalSupabase,
) -> None:
    supabase = supabase_over_postgres
    owner, member, trip = (uuid.uuid4() for _ in range(3))
    membership = {
        "trip_id": str(trip),
        "user_id": str(member),
        "role": "MEMBER",
        "status": "ACTIVE",
    }
    message = {"trip_id": str(trip), "user_id": str(owner), "body": "Tram 28 at nine?"}

    def read_chat(client: httpx.Client) -> list[str]:
        answer = client.get("chat_messages", params={"trip_id": f"eq.{trip}"})
        return [row["body"] for row in answer.raise_for_status().json()]

    with (
        open_rest(supabase, supabase.secret_key) as service_role,
        open_rest(supabase, supabase.publishable_key) as anon,
        open_as_user(supabase, member) as user,
    ):

        def create(table: str, row: dict[str, str]) -> None:
            service_role.post(table, json=row).raise_for_status()

        for each in (owner, member):
            create("users", {"id": str(each), "email": f"{each}@b.c", "username": str(each)})
        create("trips", {"id": str(trip), "name": "Lisbon", "created_by": str(owner)})
        create("chat_messages", message)

        assert read_chat(service_role) == [message["body"]]
        assert read_chat(user) == []
        assert user.post("trip_memberships", json=membership).json()["code"] == "42501"
        assert anon.get("chat_messages").json()["code"] == "42501"
        create("trip_memberships", membership)
        assert read_chat(user) == [message["body"]]
        service_role.delete(
            "trip_memberships", params={"user_id": f"eq.{member}"}
        ).raise_for_status()
        assert read_chat(user) == []

    assert supabase.database_url is not None
    with psycopg.connect(supabase.database_url) as connection:
        query = "select body from public.chat_messages where trip_id = %s"
        assert connection.execute(query, [trip]).fetchall() == [(message["body"],)]


def test_local_supabase_over_postgres_keeps_its_rows_after_a_restart(
    postgres: PostgresServer,
) -> None:
    database_url = postgres.create_database()
    user = {"id": "123e4567-e89b-12d3-a456-426614174000", "email": "a@b.c", "username": "a"}
    with (
        run_local_supabase(postgres_url=database_url) as first,
        open_rest(first, first.secret_key) as client,
    ):
        client.post("users", json=user).raise_for_status()
    assert not is_alive(first.pid)

    with run_local_supabase(postgres_url=database_url) as second:
        assert read_users(second, {"apikey": second.secret_key}).json() == [user]
        assert read_users(second, {"apikey": second.publishable_key}).status_code == 401


def test_local_supabase_over_an_unreachable_postgres_is_a_sentence_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with (
        pytest.raises(LocalSupabaseError, match=f"ECONNREFUSED 127.0.0.1:{port}") as caught,
        run_local_supabase(postgres_url=f"postgresql://relay:hunter2@127.0.0.1:{port}/postgres"),
    ):
        pass
    assert "hunter2" not in str(caught.value)


def test_local_supabase_with_broken_migration_quotes_the_database(tmp_path: Path) -> None:
    (tmp_path / "20260101000000_broken.sql").write_text("create table public.t (id no_such_type);")

    with (
        pytest.raises(LocalSupabaseError, match='type "no_such_type" does not exist'),
        run_local_supabase(migrations=tmp_path),
    ):
        pass


def test_local_supabase_without_migrations_names_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(LocalSupabaseError, match=str(tmp_path)),
        run_local_supabase(migrations=tmp_path),
    ):
        pass


def test_local_supabase_outside_a_checkout_asks_for_one(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "app", tmp_path / "app")
    script = "from app.demo.local_supabase import run_local_supabase as r\nwith r(): pass"

    answer = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert "LocalSupabaseError: The local Supabase needs a checkout" in answer.stderr


def test_find_node_without_the_wheel_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocalSupabaseError, match="run `uv sync`"):
        find_node()


def test_build_once_that_fails_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise LocalSupabaseError("no network")

    target = tmp_path / "cache" / "built"
    with pytest.raises(LocalSupabaseError, match="no network"):
        build_once(target, fail)
    assert [path.name for path in target.parent.iterdir()] == ["built.lock"]

    assert build_once(target, lambda directory: (directory / "whole").touch()) == target
    assert [path.name for path in target.iterdir()] == ["whole"]


def test_build_once_after_a_killed_build_removes_what_it_left(tmp_path: Path) -> None:
    (tmp_path / "built.unfinished-killed").mkdir()

    build_once(tmp_path / "built", lambda directory: (directory / "whole").touch())

    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "built.lock"]


def test_build_once_tried_by_two_at_once_builds_once(tmp_path: Path) -> None:
    def build(directory: Path) -> None:
        builds.append(directory)
        started.set()
        second_is_there.wait(60)

    def try_second() -> None:
        started.wait(60)
        second_is_there.set()
        build_once(tmp_path / "built", build)

    builds: list[Path] = []
    started, second_is_there = threading.Event(), threading.Event()
    second = threading.Thread(target=try_second)
    second.start()
    build_once(tmp_path / "built", build)
    second.join()

    assert len(builds) == 1


def test_run_command_that_takes_too_long_is_ended_and_quoted(tmp_path: Path) -> None:
    with pytest.raises(
        LocalSupabaseError, match=r"^Waiting did not end within 1 seconds\. Its log ends:\nslow"
    ):
        run_command(
            ["/bin/sh", "-c", "echo slow; sleep 600"],
            purpose="Waiting",
            directory=tmp_path,
            log=tmp_path / "log",
            timeout_seconds=1,
        )


def test_run_command_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(
        LocalSupabaseError, match=r"^Trying failed with status 3\. Its log ends:\n…x+$"
    ):
        run_command(
            ["/bin/sh", "-c", "printf '%03000d' 0 | tr 0 x; exit 3"],
            purpose="Trying",
            directory=tmp_path,
            log=tmp_path / "log",
            timeout_seconds=30,
        )


def test_run_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with run_process(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
        directory=tmp_path,
        log=log,
        stop_seconds=0.1,
    ) as process:
        while "ready" not in log.read_text():
            time.sleep(0.01)

    assert process.returncode == -signal.SIGKILL
