"""Old backups of the store and of Supabase: both comparisons lead to the right state."""

import copy
import json
import shutil
import uuid
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.domain.drift import ReconcileRequest
from app.domain.entities import EntityRef, Kind
from app.domain.events import Event
from tests.examples import with_shared_fixtures
from tests.fake_postgrest import FakePostgrest
from tests.histories import World, find_desired_rows, histories, make_event
from tests.relay.harness import Harness, run_harness
from tests.relay.test_dispatch_histories import is_orphan
from tests.relay.test_reconcile import Checks

# Seconds after the events of a history, as `make_event` counts.
_SNAPSHOT_AT = 60


def tell(ref: EntityRef, row: str | None) -> Event:
    """Make the event that `relay reconcile` sends for an entity of a snapshot of the source."""
    if row is None:
        names = ("trip_id", "user_id") if ref.kind is Kind.MEMBERSHIP else ("id",)
        data = dict(zip(names, ref.key.split("/"), strict=True))
        return make_event(f"{ref.kind}.deleted", data, at=_SNAPSHOT_AT)
    return make_event(f"{ref.kind}.updated", json.loads(row), at=_SNAPSHOT_AT)


async def receive_all(harness: Harness, events: list[Event]) -> None:
    if events:
        await harness.receive(*events)
    await harness.settle(rounds=6)


@with_shared_fixtures
@given(
    history=histories(),
    quarters=st.integers(0, 3),
    restored=st.sampled_from((("store",), ("supabase",), ("store", "supabase"))),
)
async def test_restored_backups_end_in_the_oracles_state_after_both_comparisons(
    tmp_path: Path, history: tuple[World, list[Event]], quarters: int, restored: tuple[str, ...]
) -> None:
    world, events = history
    backed_up = len(events) * quarters // 4
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    store, backup = folder / "relay.db", folder / "backup.db"
    postgrest = FakePostgrest(has_foreign_keys=True)
    async with run_harness(f"sqlite:///{store}", postgrest) as harness:
        await receive_all(harness, events[:backed_up])
    shutil.copy(store, backup)
    tables, epoch, sequence = copy.deepcopy(postgrest.tables), postgrest.epoch, postgrest.sequence
    async with run_harness(f"sqlite:///{store}", postgrest) as harness:
        await receive_all(harness, events[backed_up:])

    if "store" in restored:
        store = backup
    if "supabase" in restored:
        postgrest.tables, postgrest.epoch, postgrest.sequence = tables, epoch, sequence
    desired = find_desired_rows(events)
    rows = {ref: row for ref, row in desired.items() if row is None or not is_orphan(ref, desired)}
    async with run_harness(f"sqlite:///{store}", postgrest) as harness:
        checks = Checks(harness)
        await receive_all(harness, [tell(ref, row) for ref, row in rows.items()])
        await checks.find(ReconcileRequest(repair=True, max_removals="1000"))
        await harness.settle(rounds=6)
        held = harness.held()
        for ref in world.refs():
            row = rows.get(ref)
            assert held.get(ref) == (None if row is None else json.loads(row)), ref
        assert await checks.find() == {}
