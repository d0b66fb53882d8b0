"""The relay's client compares real tables, under its own mappings."""

import json
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import pytest

from app.domain.entities import EntityKey, Kind, PendingEntity, membership_key
from app.domain.failures import RequestFailure
from app.supabase.client import BUDGET_MS, SupabaseClient
from app.supabase.comparison import (
    PAGE_ROWS,
    Bucket,
    Position,
    RowPage,
    TableDigest,
    TableRanges,
    Texts,
    digest_tables,
    digest_texts,
    list_compared_columns,
    make_text_writer,
    read_page,
)
from app.supabase.mapping import read_target
from app.supabase.planning import plan_request
from app.supabase.targets import MINIMAL_TARGETS, Target, Targets
from tests.contract.wire.conftest import Server
from tests.contract.wire.driver import Wire, upsert
from tests.contract.wire.people import People
from tests.contract.wire.relay_client import open_relay_client
from tests.contract.wire.tables import SCHEMA, Tables, make_ids
from tests.supabase.entities import make_entity, make_id

EMPTY = Bucket(0, 0)
# Columns that the relay does not write and does not compare have defaults.
FITTED = f"""
    "tripId" text primary key, title varchar(200) not null, created_by uuid,
    owner text, "Name again" text, kind {SCHEMA}.kind_of_trip, priority numeric(4, 1),
    settings jsonb, raw json, written text, nothing timestamptz, start_date date,
    touched_at timestamptz default now()
"""
MAPPING = {
    "columns": {"id": "tripId", "name": "title"},
    "copy": {"owner": "created_by"},
    "constants": {
        "kind": "holiday",
        "priority": 1.25,
        "settings": {"é": [1, None], "a": "b"},
        "raw": {"é": [1, None], "a": "b"},
        "written": {"é": [True, 0.1], "a": "b"},
        "nothing": None,
    },
    "extra": {"startDate": "start_date"},
}


@pytest.fixture
async def client(server: Server) -> AsyncIterator[SupabaseClient]:
    async with open_relay_client(server) as opened:
        yield opened


@pytest.fixture
async def any_client(any_server: Server) -> AsyncIterator[SupabaseClient]:
    async with open_relay_client(any_server) as opened:
        yield opened


async def digest(
    client: SupabaseClient,
    target: Target,
    thresholds: Sequence[str] = (),
    excluded: Sequence[EntityKey] = (),
) -> TableDigest:
    found = await digest_tables(client, [TableRanges(target, thresholds, excluded)])
    assert not isinstance(found, RequestFailure), found
    return found.tables[0]


async def read_position(client: SupabaseClient, target: Target) -> Position:
    found = await digest_tables(client, [TableRanges(target, (), ())])
    assert not isinstance(found, RequestFailure), found
    return found.position


async def read_range(
    client: SupabaseClient, target: Target, start: str | None, end: str | None
) -> tuple[list[Texts], int]:
    """Read all rows of a range; return them and the number of pages."""
    rows: list[Texts] = []
    after: list[str] | None = None
    pages = 0
    while True:
        page = await read_page(client, target, start, end, after)
        assert isinstance(page, RowPage), page
        pages += 1
        rows += page.rows
        if len(page.rows) < PAGE_ROWS:
            return rows, pages
        after = [text or "" for text in page.rows[-1][: len(target.key_columns)]]


async def apply(client: SupabaseClient, targets: Targets, *entities: PendingEntity) -> Position:
    epoch = await client.claim()
    assert isinstance(epoch, int)
    done = await client.apply(epoch, 1, plan_request(entities, targets), budget_ms=BUDGET_MS)
    assert not isinstance(done, RequestFailure), done
    assert (done.failures, done.not_tried) == ({}, frozenset())
    return Position(epoch, 1)


def make_bucket(*rows: Texts) -> Bucket:
    return Bucket(len(rows), sum(map(digest_texts, rows)))


def follow(key: str) -> str:
    """Return the id that comes next: a range that ends there has one id."""
    return str(UUID(int=UUID(key).int + 1))


async def test_rows_that_the_relay_wrote_have_the_texts_that_it_expects(
    any_client: SupabaseClient, any_wire: Wire, people: People
) -> None:
    user, trip = people.make_user(username="Zoë \u2028 東京 \\N"), people.make_trip()
    member = people.make_membership(trip, user)
    rows = {Kind.USER: user, Kind.TRIP: trip, Kind.MEMBERSHIP: member}
    written = [
        upsert(MINIMAL_TARGETS[kind].qualified_name, row, key=MINIMAL_TARGETS[kind].key_columns)
        for kind, row in rows.items()
    ]
    assert any_wire.apply(*written).failures == []

    for kind, row in rows.items():
        target = MINIMAL_TARGETS[kind]
        first = str(row[target.key_columns[0]])
        texts = make_text_writer(target, {})(json.dumps(row))
        found = await digest(any_client, target, [first, follow(first)])
        assert found.buckets[1] == make_bucket(texts)
        assert await read_range(any_client, target, first, follow(first)) == ([texts], 1)
        key = membership_key(trip["id"], user["id"]) if kind is Kind.MEMBERSHIP else row["id"]
        left_out = await digest(any_client, target, [first, follow(first)], [EntityKey(key)])
        assert left_out.buckets[1] == EMPTY


async def test_position_is_that_of_the_latest_claim_and_request(any_client: SupabaseClient) -> None:
    target = MINIMAL_TARGETS[Kind.USER]
    for _ in range(2):
        epoch = await any_client.claim()
        assert isinstance(epoch, int)
        assert await read_position(any_client, target) == Position(epoch, 0)
        for sequence in (1, 7):
            await any_client.apply(epoch, sequence, [], budget_ms=BUDGET_MS)
            assert await read_position(any_client, target) == Position(epoch, sequence)
            page = await read_page(any_client, target, make_id(0), make_id(1), None)
            assert isinstance(page, RowPage)
            assert page.position == Position(epoch, sequence)


@pytest.fixture
def fitted(tables: Tables) -> Target:
    """Give a mapping with renamed columns, copies, constants of many types and extra columns."""
    tables.run(f"drop type if exists {SCHEMA}.kind_of_trip cascade")
    tables.run(f"create type {SCHEMA}.kind_of_trip as enum ('holiday', 'work')")
    name = tables.create(FITTED)
    return read_target(Kind.TRIP, json.dumps(MAPPING | {"table": name}))


async def test_rows_under_a_mapping_have_the_texts_that_the_relay_expects(
    client: SupabaseClient, tables: Tables, fitted: Target
) -> None:
    targets = Targets(trips=fitted)
    entities = [
        make_entity(Kind.TRIP, 1, created_by=make_id(9), startDate="2026-01-02"),
        make_entity(Kind.TRIP, 2, created_by=None, startDate=None),
    ]

    position = await apply(client, targets, *entities)

    found = await digest(client, fitted, [make_id(2)])
    write_texts = make_text_writer(fitted, found.constants)
    expected = [write_texts(entity.row or "") for entity in entities]
    assert (await read_range(client, fitted, None, None))[0] == expected
    assert found.buckets == tuple(make_bucket(texts) for texts in expected)
    assert await read_position(client, fitted) == position
    assert "start_date" not in list_compared_columns(fitted)
    tables.run(f"update {fitted.qualified_name} set start_date = '2030-01-01', touched_at = null")
    assert (await digest(client, fitted, [make_id(2)])).buckets == found.buckets


@pytest.mark.parametrize(
    "change",
    [
        "title = 'x'",
        "created_by = null",
        "owner = ''",
        "kind = 'work'",
        "priority = 2",
        "settings = '[]'",
        "raw = null",
        "written = ''",
        "nothing = now()",
    ],
)
async def test_change_of_any_compared_column_changes_the_digest(
    client: SupabaseClient, tables: Tables, fitted: Target, change: str
) -> None:
    entity = make_entity(Kind.TRIP, 1, created_by=make_id(9), startDate="2026-01-02")
    await apply(client, Targets(trips=fitted), entity)
    before = (await digest(client, fitted)).buckets

    tables.run(f"update {fitted.qualified_name} set {change}")

    assert (await digest(client, fitted)).buckets != before


async def test_trip_with_more_members_than_a_page_is_read_in_pages(
    client: SupabaseClient, tables: Tables
) -> None:
    name = tables.create(
        "trip_id uuid, user_id text, role text, status text, primary key (user_id, trip_id)"
    )
    target = read_target(Kind.MEMBERSHIP, json.dumps({"table": name}))
    trips = make_ids(3)
    tables.run(f"""
        insert into {name} select trip::uuid, gen_random_uuid()::text, 'MEMBER', 'ACTIVE'
        from unnest('{{{",".join(trips)}}}'::text[]) as trip, generate_series(1, 2500);
        insert into {name} values ('{trips[1]}', 'not a UUID', 'MEMBER', null)
    """)

    rows, pages = await read_range(client, target, trips[1], trips[2])
    found = await digest(client, target, trips)

    assert rows == sorted(rows)
    assert len(rows) == 2501
    assert pages == 3
    assert (trips[1], "not a UUID", "MEMBER", None) in rows
    assert found.buckets[2] == make_bucket(*rows)
    assert [bucket.rows for bucket in found.buckets] == [0, 2500, 2501, 2500]


async def test_ten_thousand_keys_of_each_table_are_left_out(
    client: SupabaseClient, tables: Tables
) -> None:
    # The largest request that the relay sends has three megabytes.
    name = tables.create(
        "trip_id uuid, user_id uuid, role text, status text, primary key (trip_id, user_id)"
    )
    target = read_target(Kind.MEMBERSHIP, json.dumps({"table": name}))
    tables.run(f"""
        insert into {name} select gen_random_uuid(), gen_random_uuid(), 'MEMBER', 'ACTIVE'
        from generate_series(1, 10001)
    """)
    last, *others = tables.run(f"select trip_id::text, user_id::text from {name}")
    excluded = [membership_key(*key) for key in others]

    found = await digest_tables(client, [TableRanges(target, (), excluded)] * 3)

    assert not isinstance(found, RequestFailure), found
    left = make_bucket((*last, "MEMBER", "ACTIVE"))
    assert [table.buckets for table in found.tables] == [(left,)] * 3


async def test_missing_table_is_a_failure_and_no_difference(
    any_client: SupabaseClient,
) -> None:
    target = read_target(Kind.USER, '{"table": "relay_conformance_missing"}')

    for found in (
        await digest_tables(any_client, [TableRanges(target, (), ())]),
        await read_page(any_client, target, None, None, None),
    ):
        assert isinstance(found, RequestFailure)
        assert found.code in ("42P01", "PGRST205")
