"""What holds for every table, policy and function of the migrations, those to come included."""

import re
from pathlib import Path

import pytest

from tests.contract.database import MIGRATIONS, Database
from tests.contract.test_row_level_security import EXPECTED
from tests.contract.world import TABLES

# What a role has by grants to itself, to all (public), or on single columns.
ALL_TABLES = """
    select relname as name, relrowsecurity as has_rls,
      pg_catalog.has_table_privilege('anon', oid,
        'select, insert, update, delete, truncate, references, trigger')
      or pg_catalog.has_any_column_privilege('anon', oid, 'select, insert, update, references')
        as is_open_to_anon,
      pg_catalog.has_table_privilege('authenticated', oid, 'truncate, references, trigger')
        as is_past_row_level_security
    from pg_catalog.pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
"""


def test_every_table_has_row_level_security_and_gives_anon_nothing(database: Database) -> None:
    for table in database.run(ALL_TABLES):
        assert table["has_rls"], table
        assert not table["is_open_to_anon"], table


def test_signed_in_users_have_no_right_that_row_level_security_does_not_see(
    database: Database,
) -> None:
    for table in database.run(ALL_TABLES):
        assert not table["is_past_row_level_security"], table


def test_every_table_is_tried_in_the_contract(database: Database) -> None:
    assert {name.rpartition(" ")[2] for name in EXPECTED} == set(TABLES)
    assert {table["name"] for table in database.run(ALL_TABLES)} == set(TABLES.values())


def test_every_foreign_key_and_every_column_a_policy_asks_about_leads_an_index(
    database: Database,
) -> None:
    indexed = {
        (row["table_name"], row["leading"])
        for row in database.run("""
            select class.relname as table_name, attribute.attname as leading
            from pg_catalog.pg_index as index
            join pg_catalog.pg_class as class on class.oid = index.indrelid
            join pg_catalog.pg_attribute as attribute
              on attribute.attrelid = class.oid and attribute.attnum = index.indkey[0]
            where class.relnamespace = 'public'::regnamespace and index.indpred is null
        """)
    }
    wanted = {
        (row["table_name"], row["leading"])
        for row in database.run("""
            select class.relname as table_name, attribute.attname as leading
            from pg_catalog.pg_constraint as key
            join pg_catalog.pg_class as class on class.oid = key.conrelid
            join pg_catalog.pg_attribute as attribute
              on attribute.attrelid = class.oid and attribute.attnum = key.conkey[1]
            where class.relnamespace = 'public'::regnamespace and key.contype = 'f'
        """)
    }
    for policy in database.run("""
        select tablename, coalesce(qual, '') || coalesce(with_check, '') as predicate
        from pg_catalog.pg_policies where schemaname = 'public'
    """):
        columns = set(re.findall(r"\b(id|trip_id|user_id)\b", policy["predicate"]))
        assert columns, policy
        wanted |= {(policy["tablename"], column) for column in columns}
    assert wanted - indexed == set()


def test_every_function_has_a_fixed_search_path_and_is_closed_to_anon(database: Database) -> None:
    functions = database.run("""
        select proname as name, proconfig::text as settings,
               pg_catalog.has_function_privilege('anon', oid, 'execute') as is_open
        from pg_catalog.pg_proc where pronamespace = 'public'::regnamespace
    """)
    assert {"is_trip_member", "active_trip_ids"} <= {row["name"] for row in functions}
    for function in functions:
        assert "search_path=" in (function["settings"] or ""), function
        assert not function["is_open"], function


def test_no_function_that_the_api_exposes_runs_with_its_owners_rights(database: Database) -> None:
    # Supabase's database linter warns of one that a client may execute.
    functions = database.run("""
        select proname as name from pg_catalog.pg_proc
        where pronamespace = 'public'::regnamespace and prosecdef
    """)
    assert functions == []


def test_every_policy_is_for_signed_in_users_only(database: Database) -> None:
    policies = database.run("""
        select policyname, roles::text as roles from pg_catalog.pg_policies
        where schemaname in ('public', 'realtime')
    """)
    assert policies
    assert {row["roles"] for row in policies} == {"{authenticated}"}


def test_realtime_sends_the_tables_of_the_app_and_not_who_belongs_where(
    database: Database,
) -> None:
    # Every subscriber receives the key of a deleted row: a membership's key is a secret.
    sent = {
        row["tablename"]
        for row in database.run(
            "select tablename from pg_catalog.pg_publication_tables"
            " where pubname = 'supabase_realtime'"
        )
    }
    assert sent == {"chat_messages", "chat_reactions", "chat_read_receipts", "user_presence"}
    for table in sent:
        (key,) = database.run(
            "select pg_catalog.pg_get_constraintdef(oid) as definition"
            " from pg_catalog.pg_constraint where contype = 'p' and conrelid = $1::regclass",
            f"public.{table}",
        )
        assert key["definition"] == "PRIMARY KEY (id)"


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*.sql")), ids=lambda path: path.name)
def test_migration_is_named_as_the_supabase_cli_wants(path: Path) -> None:
    assert re.fullmatch(r"\d{14}_[a-z_]+\.sql", path.name)
