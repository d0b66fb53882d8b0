"""The project under test, and a PostgreSQL for the tests that need SQL."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import UUID

import httpx
import pytest

from app.demo.local_supabase import LocalSupabase
from tests.contract.database import Database, create_project_database, open_database
from tests.contract.project import Project, describe_local, read_project
from tests.contract.world import World, WorldMaker
from tests.postgres import PostgresServer


def pytest_configure() -> None:
    """Say at once which part of a given project is missing."""
    read_project()


@pytest.fixture(scope="session")
def project(request: pytest.FixtureRequest) -> Project:
    """Return the project under test."""
    if given := read_project():
        return given
    local: LocalSupabase = request.getfixturevalue("local_supabase")
    return describe_local(local)


@pytest.fixture(scope="session")
def anon(project: Project) -> Iterator[httpx.Client]:
    """Call with the publishable key only."""
    with project.open_as_anon() as client:
        yield client


@pytest.fixture(scope="session")
def service_role(project: Project) -> Iterator[httpx.Client]:
    """Call as the relay."""
    with project.open_as_service_role() as client:
        yield client


@pytest.fixture
def as_user(project: Project) -> Iterator[Callable[[UUID], httpx.Client]]:
    """Call as the app does when this user is signed in."""
    with ExitStack() as stack:
        yield lambda user_id: stack.enter_context(project.open_as_user(user_id))


@pytest.fixture(scope="session")
def make_world(service_role: httpx.Client) -> Iterator[WorldMaker]:
    """Make worlds, and remove their rows at the end."""
    worlds: list[World] = []

    def make(caller: str) -> World:
        worlds.append(World(service_role, caller))
        return worlds[-1]

    yield make
    for world in worlds:
        world.clean_up()


@pytest.fixture(scope="session")
def database_in_postgres(postgres: PostgresServer) -> str:
    return create_project_database(postgres)


@pytest.fixture(scope="session")
def _shared_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    given = read_project()
    url = given.database_url if given else None
    with open_database(url or request.getfixturevalue("database_in_postgres")) as database:
        yield database


@pytest.fixture
def database(_shared_database: Database) -> Iterator[Database]:
    """Yield the database, and undo all changes."""
    with _shared_database.rolled_back() as database:
        yield database
