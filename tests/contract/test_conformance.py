"""`make conformance` against a project that is given by variables."""

import os
import shutil
import subprocess

import psycopg
import pytest

from app.demo.local_supabase import CHECKOUT, LocalSupabase
from tests.contract.project import REQUIRED, SWITCH, read_project

COUNTS = """
    select (select count(*) from public.users), (select count(*) from public.trips),
      to_regnamespace('relay_conformance') is null
"""
TIMEOUT_SECONDS = 280
A_FEW = (
    "test_operations_are_applied_in_their_order or test_publishable_key_is_refused"
    " or test_locked_parent_fails or (test_row_tried_by_caller and account)"
    " or test_topic_of_a_trip_is_closed or test_position_is_that_of"
)


# A busy machine needs most of a minute to start another pytest.
pytestmark = pytest.mark.timeout(300)


def run_conformance(**variables: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make on this machine")
    environment = {
        n: v for n, v in os.environ.items() if not n.startswith(("SUPABASE_", "PYTEST_"))
    }
    return subprocess.run(  # noqa: S603 - ours
        [make, "conformance", *(f"{name}={value}" for name, value in variables.items())],
        cwd=CHECKOUT,
        env=environment | {"PYTEST_ADDOPTS": f"-v -p no:cacheprovider -k '{A_FEW}'"},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


def test_conformance_of_a_given_project_passes_and_leaves_nothing_behind(
    supabase_over_postgres: LocalSupabase,
) -> None:
    assert supabase_over_postgres.database_url is not None
    with psycopg.connect(supabase_over_postgres.database_url, autocommit=True) as connection:
        before = connection.execute(COUNTS).fetchone()

        done = run_conformance(
            SUPABASE_URL=supabase_over_postgres.url,
            SUPABASE_SECRET_KEY=supabase_over_postgres.secret_key,
            SUPABASE_DB_URL=supabase_over_postgres.database_url,
            SUPABASE_PUBLISHABLE_KEY=supabase_over_postgres.publishable_key,
            SUPABASE_JWT_SECRET=supabase_over_postgres.jwt_secret,
        )

        assert done.returncode == 0, done.stdout + done.stderr
        assert "[project-" in done.stdout
        assert "[pglite" not in done.stdout
        assert connection.execute(COUNTS).fetchone() == before


def test_conformance_without_a_part_of_the_project_names_it() -> None:
    done = run_conformance(SUPABASE_URL="http://127.0.0.1:1", SUPABASE_SECRET_KEY="sb_secret_x")

    assert done.returncode != 0
    assert "SUPABASE_DB_URL is missing." in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_project_in_the_environment_is_not_taken_by_other_tests() -> None:
    variables = dict.fromkeys(REQUIRED, "https://production.example")

    assert read_project(variables) is None
    assert read_project(variables | {SWITCH: "1"}) is not None
    assert read_project({SWITCH: "1"}) is None
