"""What the pack adds to a backend's own tables, beside policies: keys, indexes, grants."""

from collections.abc import Iterator

import pytest

from tests.contract.database import (
    PUBLISHED,
    Database,
    create_project_database,
    open_database,
    write_published_pack,
)
from tests.contract.instances import PUBLISHED as INSTANCE
from tests.contract.instances import Trip
from tests.postgres import PostgresServer

FOREIGN_KEYS = """
    select conrelid::regclass || '.' || (
        select attname from pg_catalog.pg_attribute
        where attrelid = conrelid and attnum = conkey[1]) as column,
      confdeltype::text as action, convalidated as is_valid
    from pg_catalog.pg_constraint where contype = 'f' and connamespace = 'public'::regnamespace
"""
BEFORE = {
    "supabase_chat_messages.user_id": "a",
    "supabase_chat_reactions.user_id": "a",
    "supabase_chat_read_receipts.user_id": "a",
    "supabase_chat_read_receipts.last_read_message_id": "a",
    "supabase_user_presence.user_id": "a",
    "supabase_user_presence.trip_id": "a",
    "supabase_user_presence.typing_in_trip_id": "a",
}
AFTER = {
    "supabase_chat_messages.user_id": "c",
    "supabase_chat_reactions.user_id": "c",
    "supabase_chat_read_receipts.user_id": "c",
    "supabase_chat_read_receipts.last_read_message_id": "n",
    "supabase_user_presence.user_id": "c",
    "supabase_user_presence.trip_id": "c",
    "supabase_user_presence.typing_in_trip_id": "n",
}


@pytest.fixture
def published(published_database: str) -> Iterator[Database]:
    with open_database(published_database) as opened, opened.rolled_back() as database:
        yield database


def read_actions(database: Database) -> dict[str, str]:
    return {row["column"]: row["action"] for row in database.run(FOREIGN_KEYS)}


def test_foreign_keys_that_reject_a_delete_are_replaced_and_the_others_kept(
    postgres: PostgresServer, published: Database
) -> None:
    with open_database(create_project_database(postgres, [PUBLISHED])) as untouched:
        before = read_actions(untouched)
    after = read_actions(published)

    assert {name: action for name, action in before.items() if action == "a"} == BEFORE
    assert after == before | AFTER
    assert all(row["is_valid"] for row in published.run(FOREIGN_KEYS))


def test_every_foreign_key_has_an_index_and_no_index_is_there_twice(published: Database) -> None:
    indexes = published.run("""
        select indrelid::regclass::text as name, indkey[0] as leading,
          array_to_string(indkey::int2[], ' ') as columns
        from pg_catalog.pg_index
        where indrelid in (
          select oid from pg_catalog.pg_class where relnamespace = 'public'::regnamespace)
    """)
    all_columns = [(row["name"], row["columns"]) for row in indexes]
    assert len(all_columns) == len(set(all_columns))
    keys = published.run("""
        select conrelid::regclass::text as name, conkey[1] as leading
        from pg_catalog.pg_constraint
        where contype = 'f' and connamespace = 'public'::regnamespace
    """)
    leading = {(row["name"], row["leading"]) for row in indexes}
    assert {(row["name"], row["leading"]) for row in keys} <= leading


def test_deleted_user_leaves_no_row_behind_and_no_trip_is_lost(published: Database) -> None:
    trip = Trip(published, INSTANCE)

    published.run("delete from users where id = $1", trip.fellow_id)

    assert published.run("select created_by from trips where id = $1", trip.id) == [
        {"created_by": None}
    ]
    for kind in ("message", "reaction", "receipt", "presence", "location"):
        left = published.run(f"select user_id::text as id from {INSTANCE.tables[kind]}")  # noqa: S608
        assert str(trip.fellow_id) not in {row["id"] for row in left}


def test_the_servers_key_is_granted_what_new_projects_no_longer_grant_by_default(
    postgres: PostgresServer,
) -> None:
    url = create_project_database(postgres, [PUBLISHED])
    with open_database(url) as database:
        tables = ", ".join(f"public.{table}" for table in INSTANCE.tables.values())
        database.run_script(f"revoke all on {tables} from service_role")
        database.run_script(write_published_pack())
        for table in INSTANCE.tables.values():
            (row,) = database.run(
                "select bool_and(has_table_privilege('service_role', $1, privilege)) as has"
                " from unnest(array['select', 'insert', 'update', 'delete']) as privilege",
                f"public.{table}",
            )
            assert row["has"], table


def test_page_of_reactions_looks_up_the_trips_of_the_caller_once(published: Database) -> None:
    trip = Trip(published, INSTANCE)
    published.run(
        "insert into supabase_chat_messages (trip_id, user_id, message)"
        " select $1, $2, 'hello' from generate_series(1, 300)",
        trip.id,
        trip.fellow_id,
    )
    published.run(
        "insert into supabase_chat_reactions (message_id, user_id, reaction)"
        " select id, user_id, '🎉' from supabase_chat_messages"
    )
    published.run_script("analyze; set local track_functions = 'all'")
    count = (
        "select coalesce(sum(calls), 0)::int as calls from pg_catalog.pg_stat_xact_user_functions"
        " where funcname = 'active_trip_ids'"
    )
    (before,) = published.run(count)
    with published.as_caller("authenticated", trip.caller_id):
        rows = published.run("select 1 from supabase_chat_reactions")
        (after,) = published.run(count)

    assert len(rows) >= 300
    assert after["calls"] - before["calls"] == 1
