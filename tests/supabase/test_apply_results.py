"""Only the response of the called function counts as a success."""

import json

import pytest

from app.domain.entities import Kind
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure, RowFailureKind
from app.supabase.client import ApplyResult, RowPosition
from app.supabase.planning import plan_request
from app.supabase.targets import MINIMAL_TARGETS
from tests.supabase.entities import make_entity
from tests.supabase.function_calls import SEQUENCE, apply, claim, respond_with


def write_answer(**parts: object) -> bytes:
    answer = {"sequence": SEQUENCE, "failures": [], "not_tried": []} | parts
    return json.dumps({name: part for name, part in answer.items() if part is not ...}).encode()


def assert_not_ours(answer: object) -> None:
    assert isinstance(answer, RequestFailure)
    assert answer.kind is RequestFailureKind.UNAVAILABLE
    assert "not that of relay_" in answer.message
    assert "SUPABASE_URL" in answer.message


async def test_rows_not_listed_in_a_result_are_applied() -> None:
    answer = await apply(respond_with(200, write_answer()))
    assert answer == ApplyResult({}, frozenset())


async def test_result_separates_failed_rows_from_rows_not_tried() -> None:
    failed = {"operation": 1, "row": 0, "sqlstate": "23505", "message": "taken"}
    body = write_answer(failures=[failed], not_tried=[{"operation": 1, "row": 1}])
    assert await apply(respond_with(200, body)) == ApplyResult(
        {RowPosition(1, 0): RowFailure(RowFailureKind.UNIQUE_CONFLICT, "23505", "taken")},
        frozenset([RowPosition(1, 1)]),
    )


async def test_failure_is_classified_by_the_operation_of_its_row() -> None:
    failures = [{"operation": n, "row": 0, "sqlstate": "23503"} for n in (0, 1)]
    answer = await apply(respond_with(200, write_answer(failures=failures)))
    assert isinstance(answer, ApplyResult)
    assert [failure.kind for failure in answer.failures.values()] == [
        RowFailureKind.STILL_REFERENCED,
        RowFailureKind.MISSING_REFERENCE,
    ]


async def test_result_with_unknown_fields_is_accepted() -> None:
    failed = {"operation": 0, "row": 0, "sqlstate": "XX000", "hint": "news"}
    body = write_answer(failures=[failed], news=1)
    assert isinstance(await apply(respond_with(200, body)), ApplyResult)


def fail(**parts: object) -> bytes:
    return write_answer(failures=[{"operation": 0, "row": 0, "sqlstate": "23505"} | parts])


WRONG_PLACES: list[dict[str, object]] = [
    {"operation": 2},
    {"operation": -1},
    {"operation": None},
    {"operation": "0"},
    {"operation": 0.0},
    {"row": 1},
    {"row": -1},
    {"row": True},
    {"row": "0"},
    {"row": []},
]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[" * 10_000,
        b"\xff",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'[{"sequence": 7, "failures": [], "not_tried": []}]',
        write_answer()[:-1],
        # Of another request
        write_answer(sequence=SEQUENCE - 1),
        write_answer(sequence=SEQUENCE + 1),
        write_answer(sequence=str(SEQUENCE)),
        write_answer(sequence=None),
        write_answer(sequence=...),
        # Without the outcomes of the rows
        write_answer(failures=...),
        write_answer(not_tried=...),
        write_answer(failures=None),
        write_answer(failures={}),
        write_answer(failures=""),
        write_answer(not_tried={}),
        write_answer(failures=["x"]),
        write_answer(failures=[[]]),
        write_answer(not_tried=[7]),
        # Rows that do not exist
        *(fail(**place) for place in WRONG_PLACES),
        *(write_answer(not_tried=[{"operation": 0, "row": 0} | place]) for place in WRONG_PLACES),
        write_answer(not_tried=[{"operation": 0}]),
        # Codes that PostgreSQL does not have
        fail(sqlstate=None),
        fail(sqlstate="23"),
        fail(message="\0"),
        fail(message="\ud800"),
    ],
    ids=lambda body: repr(body[:60]),
)
async def test_response_not_of_the_function_is_a_failure(body: bytes) -> None:
    assert_not_ours(await apply(respond_with(200, body)))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_success_status_without_a_result_is_a_failure(status: int) -> None:
    assert_not_ours(await apply(respond_with(status, b"")))


async def test_claim_returns_the_epoch() -> None:
    assert await claim(respond_with(200, b'{"protocol": 1, "epoch": 42}')) == 42


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"42",
        b"{}",
        b'{"protocol": 1}',
        b'{"epoch": 42}',
        b'{"protocol": 2, "epoch": 42}',
        b'{"protocol": 1, "epoch": "42"}',
        b'{"protocol": 1, "epoch": null}',
        b'{"protocol": 1, "epoch": true}',
        b'{"protocol": 1, "epoch": 4.5}',
    ],
)
async def test_claim_rejects_a_response_of_another_form(body: bytes) -> None:
    assert_not_ours(await claim(respond_with(200, body)))


async def test_result_that_lists_every_row_is_read() -> None:
    batch = [make_entity(Kind.USER, number) for number in range(500)]
    failures = [
        {"operation": 0, "row": row, "sqlstate": "23505", "message": "m" * 500}
        for row in range(500)
    ]
    operations = plan_request(batch, MINIMAL_TARGETS)
    answer = await apply(respond_with(200, write_answer(failures=failures)), operations=operations)
    assert isinstance(answer, ApplyResult)
    assert len(answer.failures) == 500
