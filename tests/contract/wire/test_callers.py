"""Who may call the functions: service_role alone."""

import json
from contextlib import closing
from uuid import uuid4

import httpx
import pytest

from tests.contract.project import Project
from tests.contract.wire.conftest import Server
from tests.contract.wire.driver import (
    PostgresCaller,
    Wire,
    failure,
    upsert,
    without_messages,
)
from tests.contract.wire.tables import Tables

REQUESTS = {
    "relay_claim": '{"protocol": 1}',
    "relay_apply": '{"epoch": 0, "sequence": 1}',
    "relay_digest": '{"tables": []}',
    "relay_read": '{"table": "public.users", "key": ["id"], "columns": [], "limit": 1}',
}


@pytest.mark.parametrize("function", REQUESTS)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_role_of_the_app_may_not_execute_it(tables: Tables, role: str, function: str) -> None:
    with closing(PostgresCaller(tables.database_url, role)) as call:
        assert call(function, REQUESTS[function]).code == "42501"


def test_service_role_may_execute_them(tables: Tables) -> None:
    with closing(PostgresCaller(tables.database_url, "service_role")) as call:
        claimed = call("relay_claim", REQUESTS["relay_claim"])
        request = {"epoch": claimed.body["epoch"], "sequence": 1, "budget_ms": 1, "operations": []}
        applied = call("relay_apply", json.dumps(request))
        digested = call("relay_digest", REQUESTS["relay_digest"])
        read = call("relay_read", REQUESTS["relay_read"])

    assert applied.body == {"sequence": 1, "failures": [], "not_tried": []}
    assert digested.body == {"epoch": claimed.body["epoch"], "sequence": 1, "tables": []}
    assert read.body["sequence"] == 1


@pytest.mark.parametrize("function", REQUESTS)
def test_only_service_role_may_execute_it(tables: Tables, function: str) -> None:
    roles = tables.run(f"""
        select role from unnest(array['public', 'anon', 'authenticated', 'service_role']) as role
        where has_function_privilege(role, 'public.{function}(text)', 'execute')
    """)

    assert roles == [("service_role",)]


@pytest.mark.parametrize("role", ["anon", "authenticated", "public"])
def test_role_of_the_app_has_no_right_in_the_schema_relay(tables: Tables, role: str) -> None:
    (rights,) = tables.run(f"""
        select has_schema_privilege('{role}', 'relay', 'usage, create'),
          has_table_privilege('{role}', 'relay.fence', 'select, insert, update, delete'),
          (select count(*) from pg_proc where pronamespace = 'relay'::regnamespace
            and has_function_privilege('{role}', oid, 'execute'))
    """)

    assert rights == (False, False, 0)


def test_functions_run_with_the_callers_rights_and_a_fixed_path(tables: Tables) -> None:
    functions = tables.run("""
        select proname, prosecdef, 'search_path=""' = any (proconfig) from pg_proc
        where proname in ('relay_claim', 'relay_apply', 'relay_digest', 'relay_read')
          or pronamespace = 'relay'::regnamespace
    """)

    assert {name for name, _, _ in functions} > REQUESTS.keys()
    for name, is_definer, has_path in functions:
        assert (is_definer, has_path) == (False, True), name


@pytest.mark.parametrize("function", REQUESTS)
def test_function_bounds_its_time_and_its_waits(tables: Tables, function: str) -> None:
    ((settings,),) = tables.run(f"select proconfig from pg_proc where proname = '{function}'")

    assert "statement_timeout=5s" in settings
    assert any(setting.startswith("lock_timeout=") for setting in settings)


@pytest.mark.parametrize("function", ["relay_digest", "relay_read"])
def test_function_that_compares_can_change_nothing(tables: Tables, function: str) -> None:
    ((volatility,),) = tables.run(f"select provolatile from pg_proc where proname = '{function}'")

    assert volatility == "s"  # PostgreSQL refuses to write in a stable function


@pytest.mark.parametrize("function", ["relay_digest", "relay_read"])
def test_table_that_service_role_may_not_read_is_refused(
    server: Server, tables: Tables, function: str
) -> None:
    if server.hides_roles:
        pytest.skip("the local Supabase runs functions as the owner, whatever the key")
    wire = Wire(server.call)
    table = tables.create("id int primary key")
    tables.run(f"revoke select on {table} from service_role")

    answer = wire.digest(table) if function == "relay_digest" else wire.read(table)

    assert answer.code == "42501"


def test_table_that_service_role_may_not_write_is_refused_row_by_row(
    server: Server, tables: Tables
) -> None:
    if server.hides_roles:
        pytest.skip("the local Supabase runs functions as the owner, whatever the key")
    wire = Wire(server.call)
    wire.claim()
    closed, open_table = tables.create("id int primary key"), tables.create("id int primary key")
    tables.run(f"revoke insert on {closed} from service_role")

    answer = wire.apply(upsert(closed, {"id": 1}, {"id": 2}), upsert(open_table, {"id": 1}))

    assert without_messages(answer.failures) == [failure(0, "42501"), failure(1, "42501")]
    assert tables.read(open_table) == [(1,)]


@pytest.mark.parametrize("function", REQUESTS)
def test_publishable_key_is_refused_over_http(http_project: Project, function: str) -> None:
    with http_project.open_as_anon() as anon:
        assert_refused(anon.post(f"rpc/{function}", json={"request": REQUESTS[function]}))


@pytest.mark.parametrize("function", REQUESTS)
def test_signed_in_user_is_refused_over_http(http_project: Project, function: str) -> None:
    with http_project.open_as_user(uuid4()) as user:
        assert_refused(user.post(f"rpc/{function}", json={"request": REQUESTS[function]}))


def assert_refused(response: httpx.Response) -> None:
    assert response.status_code in (401, 403), response.text
    assert response.json()["code"] == "42501"
