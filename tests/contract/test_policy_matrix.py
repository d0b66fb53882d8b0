"""The permissions of each caller on each table, in both instances of the policy pack."""

import pytest

from tests.contract.database import REFUSED, Refused
from tests.contract.instances import CALLERS, INSTANCES, Instance, Row, Trip

ACTIONS = ("select", "insert", "update", "delete")
# One cell is the outcome of select, insert, update, delete for an ACTIVE member:
#   y  done
#   x  refused: SQLSTATE 42501
#   .  a success that finds no row
ACTIVE = {
    "ours": {
        "own account": "yxxx",
        "fellow's account": ".xxx",
        "fellow's trip": "yxxx",
        "own membership": "yxxx",
        "fellow's membership": "yxxx",
        "own message": "yyyy",
        "fellow's message": "yx..",
        "own reaction": "yyxy",
        "fellow's reaction": "yxx.",
        "own receipt": "yyyy",
        "fellow's receipt": "yx..",
        "own presence": "yyyy",
        "fellow's presence": "yx..",
    },
    # The backend writes everything.
    "published": {
        "own account": "yxxx",
        "fellow's account": ".xxx",
        "fellow's trip": "yxxx",
        "own membership": "yxxx",
        "fellow's membership": "yxxx",
        "own message": "yxxx",
        "fellow's message": "yxxx",
        "own reaction": "yxxx",
        "fellow's reaction": "yxxx",
        "own receipt": "yxxx",
        "fellow's receipt": "yxxx",
        "own presence": "yxxx",
        "fellow's presence": "yxxx",
        "own location": "yxxx",
        "fellow's location": "yxxx",
    },
}
# Everyone may read what is said of themselves, while it stands.
OWN = {
    ("own account", caller): "yxxx" for caller in set(CALLERS) - {"anon", "active", "user deleted"}
} | {
    ("own membership", "inactive"): "yxxx",
    ("own membership", "other trip's"): "yxxx",
}
CELLS = [
    (instance, name, caller)
    for instance in INSTANCES
    for name in ACTIVE[instance.name]
    for caller in CALLERS
]


def find_cell(instance: Instance, name: str, caller: str) -> str:
    """Look a cell up: who is not ACTIVE does nothing that a member may, anon nothing at all."""
    if caller == "anon":
        return "xxxx"
    cell = ACTIVE[instance.name][name]
    if caller == "active":
        return cell
    return OWN.get((name, caller), ".x" + cell[2:].replace("y", "."))


@pytest.mark.parametrize(
    ("instance", "name", "caller"),
    CELLS,
    ids=lambda value: value.name if isinstance(value, Instance) else value,
)
def test_row_tried_by_caller_ends_as_the_table_says(
    trip: Trip, instance: Instance, name: str, caller: str
) -> None:
    whose, _, kind = name.partition(" ")
    user_id = trip.fellow_id if whose == "fellow's" else trip.caller_id
    row = trip.make_row(kind, user_id)
    table = f"public.{instance.tables[kind]}"
    # Rows without an id that the test knows are found by their user.
    key = ("id", row["id"]) if "id" in row else ("user_id", user_id)
    role, caller_id = trip.become(caller)
    outcomes = {}
    for action in ("select", "update", "delete", "insert"):
        if action == "insert":
            trip.database.run(f"delete from {table} where {key[0]} = $1", key[1])  # noqa: S608
        with trip.database.as_caller(role, caller_id):
            try:
                found = attempt(trip, kind, table, row, action, key)
            except Refused as refused:
                outcomes[action] = "x" if refused.code == REFUSED else str(refused)
            else:
                outcomes[action] = "y" if found else "."

    assert "".join(outcomes[action] for action in ACTIONS) == find_cell(instance, name, caller)


def attempt(
    trip: Trip,
    kind: str,
    table: str,
    row: Row,
    action: str,
    key: tuple[str, object],
) -> bool:
    """Try an action; tell whether it found or made a row."""
    match action:
        case "select":
            return bool(trip.database.run(f"select 1 from {table} where {key[0]} = $1", key[1]))  # noqa: S608
        case "insert":
            trip.insert(kind, row)
            return True
        case "update":
            column = {
                "account": "username",
                "trip": "name",
                "membership": "role",
                "message": trip.instance.body,
                "reaction": trip.instance.reaction,
                "receipt": trip.instance.read,
                "presence": "status",
                "location": "accuracy",
            }[kind]
            update = f"update {table} set {column} = {column} where {key[0]} = $1 returning 1"  # noqa: S608
            return bool(trip.database.run(update, key[1]))
        case _:
            delete = f"delete from {table} where {key[0]} = $1 returning 1"  # noqa: S608
            return bool(trip.database.run(delete, key[1]))
