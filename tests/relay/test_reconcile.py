"""Checks for drift and repairs, with Supabase faked at the wire."""

import json
import uuid
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.drift import (
    Difference,
    DifferenceKind,
    ReconcileRequest,
    ReconcileStatus,
    Reconciliation,
    Repair,
)
from app.domain.entities import EntityKey, EntityRef, EntityState, Kind
from app.domain.events import Event
from app.relay.reconcile import Reconciler
from app.store import drift_queries
from app.store.drift_queries import DesiredEntity
from app.supabase.client import SupabaseClient
from app.supabase.targets import MINIMAL_TARGETS
from tests.examples import with_shared_fixtures
from tests.fake_postgrest import COLUMNS, KEYS, FakePostgrest
from tests.histories import World, find_desired_rows, histories, ref_of
from tests.relay.harness import TABLES, Harness
from tests.relay.test_dispatch_histories import Step, is_orphan, perform, steps

Found = dict[EntityRef, Difference]

_LOOK = ReconcileRequest()


class Checks:
    """Reconciliations that the test drives, on the harness's dispatcher.

    Args:
        bucket_rows: few, so that a few rows make several ranges.
    """

    def __init__(
        self, harness: Harness, *, interval_seconds: float = 0, bucket_rows: int = 2
    ) -> None:
        self.harness = harness
        self._bucket_rows = bucket_rows
        self._interval_seconds = interval_seconds
        self.reconciler = self.restart()

    def restart(self) -> Reconciler:
        """Start anew, on the harness's current dispatcher."""
        harness = self.harness
        self.reconciler = Reconciler(
            harness.store,
            harness.dispatcher,
            SupabaseClient(harness.http, clock=harness.clock),
            targets=MINIMAL_TARGETS,
            clocks=harness.clocks,
            interval_seconds=self._interval_seconds,
            bucket_rows=self._bucket_rows,
        )
        return self.reconciler

    async def check(self, request: ReconcileRequest = _LOOK) -> Reconciliation:
        """Run one check and return its result."""
        requested = await self.reconciler.request(request, requested_by="ops")
        await self.reconciler.run_next()
        return await self.reconciler.find(requested.reconcile_id)

    async def find(self, request: ReconcileRequest = _LOOK) -> Found:
        """Run one check and return its differences."""
        checked = await self.check(request)
        assert checked.status is ReconcileStatus.COMPLETED, checked.failure
        page = await self.reconciler.list_differences(checked.reconcile_id, None, 1000)
        assert len(page.differences) == checked.differences
        return {each.ref: each for each in page.differences}


@pytest.fixture
def checks(harness: Harness) -> Checks:
    return Checks(harness)


class Edit(StrEnum):
    """What somebody does to a row in Supabase, past the relay."""

    DELETE = "deletes it"
    WRITE = "writes other values"
    SWITCH = "switches the status of a membership"


def edit_row(fake: FakePostgrest, ref: EntityRef, edit: Edit) -> None:
    """Change a row in Supabase past the relay."""
    table, key = TABLES[ref.kind], tuple(ref.key.split("/"))
    if edit is Edit.DELETE:
        fake.delete(table, key)
        return
    other: dict[str, str | None] = dict(zip(KEYS[table], key, strict=True))
    others = [name for name in COLUMNS[table] if name not in other]
    row = fake.tables[table].get(key) or other | dict.fromkeys(others, "ACTIVE")
    if edit is Edit.SWITCH and ref.kind is Kind.MEMBERSHIP:
        row = row | {"status": "INACTIVE" if row["status"] == "ACTIVE" else "ACTIVE"}
    else:
        row = row | {others[0]: "edited"}
    fake.tables[table][key] = row


async def find_expected(harness: Harness) -> dict[EntityRef, DifferenceKind]:
    """Compare every applied entity and every row, one by one."""
    entities: dict[EntityRef, DesiredEntity] = {}
    for kind in Kind:
        found = await harness.store.read(
            drift_queries.read_range, kind, None, None, removes_inactive=False
        )
        entities |= {EntityRef(kind, key): entity for key, entity in found.items()}
    held = harness.held()
    expected: dict[EntityRef, DifferenceKind] = {}
    for ref in entities.keys() | held.keys():
        entity = entities.get(ref, DesiredEntity(None, EntityState.APPLIED))
        desired = None if entity.row is None else json.loads(entity.row)
        if entity.state is not EntityState.APPLIED or held.get(ref) == desired:
            continue
        if ref not in held:
            if not _has_unsettled_parent(ref, entities):
                expected[ref] = DifferenceKind.MISSING
        else:
            expected[ref] = DifferenceKind.EXTRA if desired is None else DifferenceKind.DIFFERENT
    return expected


def _has_unsettled_parent(ref: EntityRef, entities: dict[EntityRef, DesiredEntity]) -> bool:
    if ref.kind is not Kind.MEMBERSHIP:
        return False
    trip_id, user_id = ref.key.split("/")
    parents = (EntityRef(Kind.TRIP, EntityKey(trip_id)), EntityRef(Kind.USER, EntityKey(user_id)))
    return any(
        parent in entities and entities[parent].state is not EntityState.APPLIED
        for parent in parents
    )


@with_shared_fixtures
@given(history=histories(), plan=steps)
async def test_check_after_any_history_with_any_trouble_finds_nothing(
    checks: Checks, history: tuple[World, list[Event]], plan: list[tuple[int, Step, str, int]]
) -> None:
    harness = checks.harness
    rest = list(history[1])
    for count, step, table, seed in plan:
        some, rest = rest[:count], rest[count:]
        if some:
            await harness.receive(*some)
        await perform(harness, step, table, seed)
        checks.restart()
        checked = await checks.check()
        assert checked.differences == 0
    if rest:
        await harness.receive(*rest)
    await harness.settle(rounds=6)
    assert await checks.find() == {}


edits = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(Edit)), min_size=1, max_size=5)


@with_shared_fixtures
@given(
    history=histories(),
    settled=st.integers(0, 25),
    made=edits,
    strangers=st.lists(st.sampled_from(Kind), max_size=2),
)
async def test_check_of_edited_rows_names_exactly_the_edits_and_repair_undoes_them(
    checks: Checks,
    history: tuple[World, list[Event]],
    settled: int,
    made: list[tuple[int, Edit]],
    strangers: list[Kind],
) -> None:
    harness = checks.harness
    world, events = history
    await harness.receive(*events[:settled])
    await harness.settle(rounds=6)
    await harness.receive(*events[settled:])
    for number, edit in made:
        edit_row(harness.postgrest, world.refs()[number], edit)
    for kind in strangers:
        key = "/".join(str(uuid.uuid4()) for _ in KEYS[TABLES[kind]])
        edit_row(harness.postgrest, EntityRef(kind, EntityKey(key)), Edit.WRITE)

    expected = await find_expected(harness)
    found = await checks.find(ReconcileRequest(repair=True, max_removals="1000"))
    assert {ref: each.kind for ref, each in found.items()} == expected
    await harness.settle(rounds=6)

    desired = find_desired_rows(events)
    held = harness.held()
    # An unknown trip or user with desired memberships is kept, and the memberships can be applied.
    kept = {ref for ref, each in found.items() if each.repair is Repair.NONE}
    parents = desired | dict.fromkeys(kept, "")
    for ref in (*world.refs(), *(each for each in found if each not in parents)):
        row = desired.get(ref)
        # A membership that waits for a parent is pending, so an edit of its row is not found.
        if ref not in kept and not (row is not None and is_orphan(ref, parents)):
            assert held.get(ref) == (None if row is None else json.loads(row)), ref
    assert (await checks.find()).keys() <= kept


async def test_check_of_rows_with_long_texts_names_only_what_differs(checks: Checks) -> None:
    tables, name = checks.harness.postgrest.tables, "é" * 1000
    event = World().trip("created", name=name)
    await checks.harness.receive(event)
    await checks.harness.settle()
    assert await checks.find() == {}
    trip = ref_of(event)
    row = tables["trips"][trip.key,]

    tables["trips"][trip.key,] = row | {"created_by": None}
    owner = await checks.find()
    tables["trips"][trip.key,] = row | {"name": name[:-1] + "e"}
    ending = await checks.find()

    assert owner[trip].columns == ("created_by",)
    assert ending[trip].columns == ("name",)


async def test_check_of_many_ranges_names_what_differs_in_each(harness: Harness) -> None:
    checks = Checks(harness, bucket_rows=1)
    events = [World().user("created") for _ in range(50)]
    await harness.receive(*events)
    await harness.settle()
    users = sorted(event.key for event in events)
    edited = [EntityRef(Kind.USER, users[number]) for number in (0, 1, 20, 49)]
    for ref in edited:
        edit_row(harness.postgrest, ref, Edit.WRITE)
    stranger = EntityRef(Kind.USER, EntityKey(str(uuid.UUID(int=0))))
    edit_row(harness.postgrest, stranger, Edit.WRITE)

    assert list(await checks.find()) == sorted([stranger, *edited], key=lambda ref: ref.key)
