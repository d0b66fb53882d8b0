"""Holds the fake PostgREST to the contract of the functions that the relay writes through."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fake_postgrest import FakePostgrest, Row, is_write, read_operations

USER: Row = {"id": "u1", "email": "ada@example.com", "username": "ada"}
OTHER: Row = {"id": "u2", "email": "bob@example.com", "username": "bob"}
TRIP: Row = {"id": "t1", "name": "Rome", "created_by": "u1"}
MEMBER: Row = {"trip_id": "t1", "user_id": "u1", "role": "OWNER", "status": "ACTIVE"}
KEYS = {"users": ["id"], "trips": ["id"], "trip_memberships": ["trip_id", "user_id"]}
GOLDEN = Path(__file__).parent / "golden" / "postgrest" / "errors.json"


def operate(operation: str, table: str, *rows: Row) -> dict[str, Any]:
    return {
        "operation": operation,
        "table": f"public.{table}",
        "key": KEYS.get(table, ["id"]),
        "rows": list(rows),
    }


def call(function: str, argument: object) -> httpx.Request:
    return httpx.Request(
        "POST",
        f"http://supabase.test/rest/v1/rpc/{function}",
        json={"request": json.dumps(argument)},
    )


def apply(epoch: int, sequence: int, *operations: dict[str, Any]) -> httpx.Request:
    argument = {"epoch": epoch, "sequence": sequence, "budget_ms": 3000, "operations": operations}
    return call("relay_apply", argument)


async def write(fake: FakePostgrest, *operations: dict[str, Any]) -> dict[str, Any]:
    """Apply at the next sequence of the fence, and give what is answered."""
    response = await fake.respond(apply(fake.epoch, fake.sequence + 1, *operations))
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code)


# The fence


async def test_claim_raises_the_epoch_and_begins_the_sequence_again() -> None:
    fake = FakePostgrest()
    await write(fake, operate("upsert", "users", USER))
    response = await fake.respond(call("relay_claim", {"protocol": 1}))
    assert response.json() == {"protocol": 1, "epoch": 1}
    assert (fake.epoch, fake.sequence) == (1, 0)


async def test_claim_of_another_protocol_is_refused() -> None:
    fake = FakePostgrest()
    assert_refused(await fake.respond(call("relay_claim", {"protocol": 2})), 400, "0A000")
    assert fake.epoch == 0


@pytest.mark.parametrize(("epoch", "sequence"), [(0, 9), (2, 9), (1, 4), (1, 3)])
async def test_apply_of_another_epoch_or_an_old_sequence_is_stale_and_changes_nothing(
    epoch: int, sequence: int
) -> None:
    fake = FakePostgrest()
    fake.epoch, fake.sequence = 1, 4
    response = await fake.respond(apply(epoch, sequence, operate("upsert", "users", USER)))
    assert_refused(response, 409, "PT409")
    assert fake.rows("users") == []
    assert (fake.epoch, fake.sequence) == (1, 4)


async def test_request_delivered_late_is_stale() -> None:
    fake = FakePostgrest()
    late = apply(0, 1, operate("upsert", "users", USER))
    await fake.respond(apply(0, 2, operate("delete", "users", {"id": "u1"})))
    assert_refused(await fake.respond(late), 409, "PT409")
    assert fake.rows("users") == []


async def test_locked_fence_refuses_claims_and_writes_until_it_is_unlocked() -> None:
    fake = FakePostgrest()
    unlock = fake.lock_fence()
    for request in (call("relay_claim", {"protocol": 1}), apply(0, 1)):
        assert_refused(await fake.respond(request), 500, "55P03")
    assert (fake.epoch, fake.sequence) == (0, 0)
    unlock()
    assert (await fake.respond(apply(0, 1))).status_code == 200


# Rows


async def test_apply_writes_updates_and_deletes_in_order() -> None:
    fake = FakePostgrest()
    body = await write(
        fake,
        operate("upsert", "users", USER, OTHER),
        operate("update", "users", {"id": "u1", "username": "anna"}),
        operate("delete", "users", {"id": "u2"}, {"id": "none"}),
    )
    assert body == {"sequence": 1, "failures": [], "not_tried": []}
    assert fake.rows("users") == [USER | {"username": "anna"}]


@pytest.mark.parametrize(
    ("operation", "failure"),
    [
        (
            operate("upsert", "trips", TRIP | {"name": None}),
            {"sqlstate": "23502", "schema": "public", "table": "trips", "column": "name"},
        ),
        (
            operate("upsert", "trip_memberships", MEMBER),
            {
                "sqlstate": "23503",
                "schema": "public",
                "table": "trip_memberships",
                "column": "trip_id",
                "constraint": "trip_memberships_trip_id_fkey",
            },
        ),
        (
            operate("upsert", "users", USER | {"id": "u3"}),
            {
                "sqlstate": "23505",
                "schema": "public",
                "table": "users",
                "constraint": "users_email_key",
            },
        ),
        (operate("upsert", "users", USER | {"age": "7"}), {"sqlstate": "42703"}),
        (operate("upsert", "people", USER), {"sqlstate": "42P01"}),
        (operate("upsert", "users", USER) | {"key": ["email"]}, {"sqlstate": "42P10"}),
        (operate("update", "trips", {"id": "t9", "name": "Oslo"}), {"sqlstate": "P0002"}),
    ],
    ids=lambda value: value.get("sqlstate"),
)
async def test_row_that_cannot_be_applied_fails_alone(
    operation: dict[str, Any], failure: dict[str, str]
) -> None:
    fake = FakePostgrest(has_foreign_keys=True, unique={"users": ("email", "username")})
    await write(fake, operate("upsert", "users", USER))
    body = await write(fake, operation, operate("upsert", "users", OTHER))
    (failed,) = body["failures"]
    failed.pop("message", None)
    assert failed == {"operation": 0, "row": 0, **failure}
    assert fake.rows("users") == [USER, OTHER]
    assert fake.rows("trips") == fake.rows("trip_memberships") == []


async def test_values_swapped_in_one_request_conflict() -> None:
    fake = FakePostgrest(unique={"users": ("username",)})
    await write(fake, operate("upsert", "users", USER, OTHER))
    swapped = (USER | {"username": "bob"}, OTHER | {"username": "ada"})
    body = await write(fake, operate("upsert", "users", *swapped))
    assert [failure["sqlstate"] for failure in body["failures"]] == ["23505", "23505"]
    assert fake.rows("users") == [USER, OTHER]


@pytest.mark.parametrize(("table", "row"), [("trips", {"id": "t1"}), ("users", {"id": "u1"})])
@pytest.mark.parametrize("has_foreign_keys", [False, True])
async def test_delete_of_a_parent_cascades_where_there_are_foreign_keys(
    has_foreign_keys: bool, table: str, row: Row
) -> None:
    fake = FakePostgrest(has_foreign_keys=has_foreign_keys)
    await write(
        fake,
        operate("upsert", "users", USER),
        operate("upsert", "trips", TRIP),
        operate("upsert", "trip_memberships", MEMBER),
    )
    await write(fake, operate("delete", table, row))
    assert fake.rows("trip_memberships") == ([] if has_foreign_keys else [MEMBER])


async def test_row_told_to_fail_fails_until_it_is_undone() -> None:
    fake = FakePostgrest()
    undo = fake.fail_row(
        lambda operation, table, row: (operation, table, row["id"]) == ("upsert", "users", "u1"),
        "23514",
        "no",
        constraint="users_check",
    )
    request = operate("upsert", "users", USER, OTHER)
    failure = {"sqlstate": "23514", "message": "no", "constraint": "users_check"}
    assert (await write(fake, request))["failures"] == [{"operation": 0, "row": 0, **failure}]
    assert fake.rows("users") == [OTHER]
    undo()
    assert (await write(fake, request))["failures"] == []


async def test_rows_beyond_the_budget_are_not_tried() -> None:
    fake = FakePostgrest()
    fake.set_budget(1)
    body = await write(
        fake, operate("upsert", "users", USER, OTHER), operate("upsert", "trips", TRIP)
    )
    assert body["not_tried"] == [{"operation": 0, "row": 1}, {"operation": 1, "row": 0}]
    assert (fake.rows("users"), fake.rows("trips")) == ([USER], [])


# What arrived


async def test_writes_are_the_requests_that_hold_rows() -> None:
    fake = FakePostgrest()
    claim = call("relay_claim", {"protocol": 1})
    read = httpx.Request("GET", "http://supabase.test/rest/v1/users")
    empty = apply(1, 1, operate("upsert", "users"))
    full = apply(1, 2, operate("delete", "trips", {"id": "t1"}), operate("upsert", "users", USER))
    for request in (claim, read, apply(1, 0), empty, full):
        await fake.respond(request)
    assert fake.writes == [full]
    assert is_write(full)
    assert not any(map(is_write, (claim, read, empty)))
    assert fake.operations == [("delete", "trips", 1), ("upsert", "users", 1)]
    assert read_operations(full)[1] == operate("upsert", "users", USER)
    await fake.wait_for_writes(1)


async def test_answer_that_is_lost_or_hangs_may_have_landed() -> None:
    fake = FakePostgrest()
    fake.lose_responses(of=is_write)
    with pytest.raises(httpx.ReadError):
        await fake.respond(apply(0, 1, operate("upsert", "users", USER)))
    assert fake.rows("users") == [USER]
    fake.heal()
    gate = fake.hang(of=is_write, lands=True)
    hanging = asyncio.create_task(fake.respond(apply(0, 2, operate("upsert", "users", OTHER))))
    await fake.wait_for_hanging()
    assert fake.rows("users") == [USER, OTHER]
    gate.set()
    assert (await hanging).json()["sequence"] == 2


async def test_heal_ends_every_trouble() -> None:
    fake = FakePostgrest()
    fake.break_connection()
    fake.fail_row(lambda *_: True, "40001")
    fake.set_budget(0)
    fake.lock_fence()
    fake.heal()
    body = await write(fake, operate("upsert", "users", USER))
    assert body == {"sequence": 1, "failures": [], "not_tried": []}


# What is answered as PostgREST would


@pytest.mark.parametrize("function", ["relay_claim", "relay_apply"])
async def test_functions_that_are_dropped_are_missing_until_installed(function: str) -> None:
    fake = FakePostgrest()
    fake.drop_functions()
    response = await fake.respond(call(function, {"protocol": 1}))
    assert_refused(response, 404, "PGRST202")
    assert response.json()["message"] == (
        f"Could not find the function public.{function}(request) in the schema cache"
    )
    fake.install_functions()
    assert (await fake.respond(apply(0, 1))).status_code == 200


@pytest.mark.parametrize(
    ("method", "target", "content", "status", "code"),
    [
        ("POST", "rpc/relay_apply", b"{", 400, "PGRST102"),
        ("POST", "rpc/relay_apply", b'{"epoch": 1}', 404, "PGRST202"),
        ("POST", "rpc/relay_apply", b'{"request": "{"}', 400, "22P02"),
        ("PUT", "rpc/relay_apply", b"", 405, "PGRST101"),
        ("POST", "rpc/relay_drop", b'{"request": "{}"}', 404, "PGRST202"),
        ("POST", "users", b"[]", 405, "PGRST117"),
        ("DELETE", "users", b"", 405, "PGRST117"),
        ("GET", "people", b"", 404, "PGRST205"),
        ("GET", "users?select=age", b"", 400, "42703"),
        ("GET", "users?id=gt.u1", b"", 400, "PGRST100"),
    ],
)
async def test_anything_else_is_refused(
    method: str, target: str, content: bytes, status: int, code: str
) -> None:
    fake = FakePostgrest()
    url = f"http://supabase.test/rest/v1/{target}"
    assert_refused(await fake.respond(httpx.Request(method, url, content=content)), status, code)


async def test_read_gives_the_columns_of_the_rows_that_a_filter_picks() -> None:
    fake = FakePostgrest()
    await write(fake, operate("upsert", "users", USER, OTHER))
    for query, expected in (
        ("select=id&id=eq.u2", [{"id": "u2"}]),
        ("select=id&id=in.(u1,u2)", [{"id": "u1"}, {"id": "u2"}]),
        ("limit=0", []),
        ("limit=1", [USER]),
    ):
        url = f"http://supabase.test/rest/v1/users?{query}"
        assert (await fake.respond(httpx.Request("GET", url))).json() == expected


async def test_wrong_api_key_is_refused() -> None:
    fake = FakePostgrest(api_key="right")
    assert (await fake.respond(apply(0, 1))).status_code == 401
    request = apply(0, 1)
    request.headers["apikey"] = "right"
    assert (await fake.respond(request)).status_code == 200


def test_golden_errors_of_postgrest_are_of_its_form() -> None:
    errors = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len({error["name"] for error in errors}) == len(errors)
    for error in errors:
        assert error.keys() == {"name", "postgrest", "status", "headers", "body"}
        assert 400 <= error["status"] <= 599
        if error["postgrest"] != "gateway":
            assert json.loads(error["body"]).keys() == {"code", "details", "hint", "message"}
