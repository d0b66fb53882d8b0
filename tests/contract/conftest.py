"""The project under test, and a PostgreSQL for the tests that need SQL."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from uuid import UUID

import httpx
import pytest

from app.demo.local_supabase import LocalSupabase
from tests.contract.database import (
    PUBLISHED,
    Database,
    create_project_database,
    open_database,
    write_published_pack,
)
from tests.contract.instances import Instance, Trip
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


@pytest.fixture(scope="session")
def published_database(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A backend's own tables, with the pack that the documentation shows for them."""
    pack = tmp_path_factory.mktemp("pack") / "pack.sql"
    pack.write_text(write_published_pack())
    # Twice: it can be applied again.
    return create_project_database(postgres, [PUBLISHED, pack, pack])


@pytest.fixture(scope="session")
def _instance_databases(
    database_in_postgres: str, published_database: str
) -> Iterator[Mapping[str, Database]]:
    with (
        open_database(database_in_postgres) as ours,
        open_database(published_database) as published,
    ):
        yield {"ours": ours, "published": published}


@pytest.fixture
def trip(_instance_databases: Mapping[str, Database], instance: Instance) -> Iterator[Trip]:
    """Yield a trip of the instance that the test is about, and undo all changes."""
    with _instance_databases[instance.name].rolled_back() as database:
        yield Trip(database, instance)
