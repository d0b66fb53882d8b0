"""Unique values that move between rows."""

import json
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from app.domain.documents import write_row
from app.domain.entities import (
    EntityKey,
    EntityRef,
    Kind,
    PendingEntity,
    Version,
)
from app.domain.failures import Failure, FailureKind
from app.domain.instants import Instant
from app.relay.contested import make_placeholder, settle_contested


def make_user(number: int, name: str) -> PendingEntity:
    row = {"id": f"id-{number}", "email": f"{name}@example.com", "username": name}
    return PendingEntity(
        ref=EntityRef(Kind.USER, EntityKey(f"id-{number}")),
        version=Version(Instant(0), is_removal=False, sequence=number),
        row=write_row(row),
        revision=1,
        attempts=0,
        waiting_since=None,
        pending_since=Instant(0),
    )


@dataclass
class UniqueTable:
    """Holds one row a user, and each name once."""

    names: dict[str, str] = field(default_factory=dict)
    writes: int = 0

    async def write(self, entity: PendingEntity) -> Failure | None:
        self.writes += 1
        name = json.loads(entity.row or "")["username"]
        if any(held == name and key != entity.ref.key for key, held in self.names.items()):
            return Failure(FailureKind.CONTESTED, "23505", "duplicate key")
        self.names[entity.ref.key] = name
        return None


@given(
    held=st.permutations(range(5)),
    wanted=st.permutations(range(5)),
    order=st.permutations(range(5)),
)
async def test_contested_values_in_any_chains_and_circles_all_arrive(
    held: list[int], wanted: list[int], order: list[int]
) -> None:
    table = UniqueTable({f"id-{n}": f"name-{held[n]}" for n in range(5)})
    users = [make_user(n, f"name-{wanted[n]}") for n in order]
    applied, refused = await settle_contested(users, table.write)
    assert refused == []
    assert {user.ref for user in applied} == {user.ref for user in users}
    assert table.names == {f"id-{n}": f"name-{wanted[n]}" for n in range(5)}


async def test_contested_value_of_one_who_does_not_move_refuses_one_and_lets_go_of_nothing() -> (
    None
):
    table = UniqueTable({"id-0": "a", "id-1": "b"})
    user = make_user(0, "b")
    applied, refused = await settle_contested([user], table.write)
    assert (applied, [entity for entity, _ in refused]) == ([], [user])
    assert table.names == {"id-0": "a", "id-1": "b"}
    assert table.writes == 1


async def test_contested_circle_beside_one_that_cannot_have_its_value_is_settled() -> None:
    table = UniqueTable({"id-0": "a", "id-1": "b", "id-2": "c", "id-9": "taken"})
    users = [make_user(2, "taken"), make_user(0, "b"), make_user(1, "a")]
    applied, refused = await settle_contested(users, table.write)
    assert {user.ref.key for user in applied} == {"id-0", "id-1"}
    assert [user.ref.key for user, _ in refused] == ["id-2"]
    assert (table.names["id-0"], table.names["id-1"]) == ("b", "a")


def test_placeholder_keeps_ids_and_frees_every_name() -> None:
    row = json.loads(make_placeholder(make_user(7, "bo")).row or "")
    assert row == {"id": "id-7", "email": "id-7@placeholder.invalid", "username": "id-7"}
