"""How much a member may write into a column: what an app needs, and what Realtime sends.

Realtime leaves values out of a change larger than 1 MiB
(https://supabase.com/docs/guides/realtime/limits).
"""

import json
from collections.abc import Callable
from uuid import UUID

import httpx
import pytest

from tests.contract.database import Database, Refused
from tests.contract.sql_world import create_caller
from tests.contract.world import WorldMaker, filter_by, keep_columns

AsUser = Callable[[UUID], httpx.Client]
LARGEST_CHANGE = 1024 * 1024
CHECK_VIOLATION = "23514"

KISS = "👩🏽‍❤️‍💋‍👨🏿"
SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"
KINDS = {
    ("chat_messages", "body"): "own message",
    ("chat_reactions", "emoji"): "own reaction",
    ("user_presence", "status"): "own presence",
}
ALLOWED = [
    ("chat_messages", "body", "!"),
    ("chat_messages", "body", "😀" * 8000),
    # The longest in JSON.
    ("chat_messages", "body", "\x01" * 8000),
    ("chat_reactions", "emoji", "🎉"),
    ("chat_reactions", "emoji", KISS),
    ("chat_reactions", "emoji", SCOTLAND),
    ("chat_reactions", "emoji", "😀" * 16),
    ("user_presence", "status", "offline"),
]
TOO_LONG_OR_EMPTY = [
    ("chat_messages", ""),
    ("chat_messages", "x" * 8001),
    ("chat_messages", "😀" * 8001),
    ("chat_messages", "x" * 2_000_000),
    ("chat_reactions", ""),
    ("chat_reactions", "😀" * 17),
    ("user_presence", ""),
    ("user_presence", "x" * 8000),
]
INSERTS = {
    "chat_messages": """
        insert into public.chat_messages (trip_id, user_id, body) values ($1, $2, $3)
    """,
    "chat_reactions": """
        insert into public.chat_reactions (trip_id, user_id, emoji, message_id)
        select trip_id, $2::uuid, $3::text, id from public.chat_messages where trip_id = $1
    """,
    "user_presence": """
        insert into public.user_presence (trip_id, user_id, status) values ($1, $2, $3)
    """,
}
# Nobody may change a reaction.
UPDATES = {
    "chat_messages": "update public.chat_messages set body = $1",
    "user_presence": "update public.user_presence set status = $1",
}


def name_value(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value if value.isidentifier() and len(value) < 20 else f"{len(value)} of {value[:1]!a}"


def measure_change(row: dict[str, object]) -> int:
    """Count the bytes of a change as Realtime sends it, with every character escaped."""
    change = {
        "schema": "public",
        "table": "chat_messages",
        "commit_timestamp": "2026-01-02T03:04:05.678Z",
        "type": "UPDATE",
        "columns": [{"name": name, "type": "timestamptz"} for name in row],
        "record": row,
        "old_record": row,
        "errors": None,
    }
    return len(json.dumps(change).encode())


@pytest.mark.parametrize(("table", "column", "value"), ALLOWED, ids=name_value)
def test_longest_value_that_an_app_needs_is_accepted_and_sent_by_realtime(
    table: str, column: str, value: str, make_world: WorldMaker, as_user: AsUser
) -> None:
    world = make_world("active")
    target = world.find_target(KINDS[table, column])
    wanted = {**target.new_row, column: value}

    response = as_user(world.caller_id).post(table, json=wanted)

    assert response.status_code == 201, response.text
    (row,) = world.read(table, filter_by(target, wanted))
    assert keep_columns(row, wanted) == wanted
    assert measure_change(row) < LARGEST_CHANGE


@pytest.mark.parametrize(("table", "value"), TOO_LONG_OR_EMPTY, ids=name_value)
def test_new_value_that_is_too_long_or_empty_is_refused(
    table: str, value: str, database: Database
) -> None:
    trip_id, user_id = create_caller(database, "active")
    database.run(INSERTS["chat_messages"], trip_id, user_id, "hello")

    with (
        database.as_caller("authenticated", user_id),
        pytest.raises(Refused, match=CHECK_VIOLATION),
    ):
        database.run(INSERTS[table], trip_id, user_id, value)


@pytest.mark.parametrize(
    ("table", "value"), [case for case in TOO_LONG_OR_EMPTY if case[0] in UPDATES], ids=name_value
)
def test_value_that_is_made_too_long_or_empty_is_refused(
    table: str, value: str, database: Database
) -> None:
    trip_id, user_id = create_caller(database, "active")
    database.run(INSERTS[table], trip_id, user_id, "online")

    with (
        database.as_caller("authenticated", user_id),
        pytest.raises(Refused, match=CHECK_VIOLATION),
    ):
        database.run(UPDATES[table], value)


def test_every_column_of_any_length_that_a_member_may_write_is_tried_here(
    database: Database,
) -> None:
    columns = database.run("""
        select class.relname as table_name, attribute.attname as name
        from pg_catalog.pg_class as class
        join pg_catalog.pg_attribute as attribute on attribute.attrelid = class.oid
        where class.relnamespace = 'public'::regnamespace and class.relkind in ('r', 'p')
          and attribute.attnum > 0 and attribute.attlen = -1
          and pg_catalog.has_column_privilege(
            'authenticated', class.oid, attribute.attnum, 'insert, update')
    """)
    assert {(column["table_name"], column["name"]) for column in columns} == set(KINDS)
