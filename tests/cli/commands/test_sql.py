"""`relay sql` prints SQL that a Supabase project can apply."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from app.demo.local_supabase import CHECKOUT, LITE
from tests.cli.process import run_relay_command
from tests.postgres import PostgresServer

RELAY = Path(sys.executable).with_name("relay")
MIGRATIONS = sorted((CHECKOUT / "supabase" / "migrations").glob("*.sql"))
HOSTED = (
    LITE / "hosted_defaults.sql",
    CHECKOUT / "tests" / "contract" / "hosted.sql",
)


def print_sql(folder: Path, *options: str, **environment: str) -> bytes:
    """Run it outside of the checkout, without settings."""
    done = subprocess.run(  # noqa: S603 - ours
        [RELAY, "sql", *options],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


@pytest.fixture
def database_url(postgres: PostgresServer) -> str:
    """Give a database like a hosted project's before its first migration."""
    url = postgres.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        for path in HOSTED:
            connection.execute(path.read_bytes())
    return url


def test_sql_prints_the_functions_file_after_its_name(tmp_path: Path) -> None:
    (path,) = (path for path in MIGRATIONS if path.name.endswith("_relay_functions.sql"))

    printed = print_sql(tmp_path)

    name, _, rest = printed.partition(b"\n")
    assert name.decode() == f"-- supabase/migrations/{path.name}"
    assert rest == path.read_bytes()


def test_sql_all_prints_every_migration_in_order(tmp_path: Path) -> None:
    printed = print_sql(tmp_path, "--all").decode()

    places = [printed.index(f"-- supabase/migrations/{path.name}\n") for path in MIGRATIONS]
    assert places == sorted(places)
    assert places[0] == 0


def test_sql_for_tables_of_their_own_prints_their_policies_before_the_functions(
    tmp_path: Path,
) -> None:
    (tmp_path / "tables.toml").write_text('[chat_messages]\ntable = "Chat"\n')

    printed = print_sql(tmp_path, "--tables", "tables.toml").decode()

    policy = printed.index('create policy "members read"\n  on public."Chat" for select')
    assert policy < printed.index("-- supabase/migrations/")
    assert printed.endswith(print_sql(tmp_path).decode())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--tables", "tables.toml"), "tables.toml: chats: is unknown."),
        (("--tables", "missing.toml"), "missing.toml"),
        (("--tables", "tables.toml", "--all"), "--all and --tables exclude each other"),
    ],
)
def test_sql_with_a_mistake_prints_no_sql_and_names_it(
    tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "tables.toml").write_text("[chats]\n")

    done = run_relay_command(tmp_path, {}, "sql", *options)

    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_sql_is_the_same_in_a_terminal_without_utf_8(tmp_path: Path) -> None:
    assert print_sql(tmp_path, PYTHONIOENCODING="ascii") == print_sql(tmp_path)


def test_sql_all_makes_a_project_and_sql_can_be_applied_again(
    tmp_path: Path, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(print_sql(tmp_path, "--all"))
        claim = "select public.relay_claim('{\"protocol\": 1}') ->> 'epoch'"
        assert connection.execute(claim).fetchone() == ("1",)

        connection.execute(print_sql(tmp_path))

        # Applied again, it keeps the fence: a request of an earlier claim stays stale.
        assert connection.execute(claim).fetchone() == ("2",)


def test_sql_can_be_piped_into_psql(tmp_path: Path, database_url: str) -> None:
    psql = shutil.which("psql")
    if psql is None:
        pytest.skip("no psql on this machine")
    done = subprocess.run(  # noqa: S603 - ours
        [psql, "-v", "ON_ERROR_STOP=1", "-1", "-q", database_url],
        input=print_sql(tmp_path, "--all"),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
