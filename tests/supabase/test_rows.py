"""Shows what a row of ours is in the table it goes to."""

import json
from dataclasses import replace

import pytest

from app.domain.entities import Kind, RowText
from app.supabase.planning import Action, plan_batch
from app.supabase.rows import write_target_row
from app.supabase.targets import MINIMAL_TARGETS
from tests.supabase.entities import make_entity, make_id
from tests.supabase.fitting import FITTED


@pytest.mark.parametrize("kind", Kind)
def test_row_of_a_minimal_target_is_not_even_read(kind: Kind) -> None:
    (write,) = plan_batch([make_entity(kind, 1, Action.UPSERT)], MINIMAL_TARGETS)
    assert write_target_row(write, RowText("{ not JSON")) == "{ not JSON"


def test_row_has_the_columns_of_its_write_in_their_order() -> None:
    entity = make_entity(Kind.TRIP, 1, Action.UPSERT, endDate=1.5, dropped="x")
    (write,) = plan_batch([entity], FITTED)
    assert entity.row is not None
    row = json.loads(write_target_row(write, entity.row))
    assert tuple(row) == write.target.list_columns(write.extra)
    assert row == {"tripId": make_id(1), "title": "é", "created_by": "é", "end_date": 1.5}


def test_row_of_an_update_lacks_the_key_and_keeps_its_copies() -> None:
    entity = make_entity(Kind.USER, 1, Action.UPSERT)
    (write,) = plan_batch([entity], FITTED)
    assert entity.row is not None
    row = json.loads(write_target_row(replace(write, action=Action.UPDATE), entity.row))
    assert "id" not in row
    assert row["supabase_id"] == make_id(1)
