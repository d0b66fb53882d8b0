"""Shows that an answer is a success only if it is that of the function that was called."""

import json

import pytest

from app.domain.entities import Kind
from app.domain.failures import RequestFailure, RequestFailureKind, RowFailure, RowFailureKind
from app.supabase.client import ApplyResult, RowPosition
from app.supabase.planning import plan_request
from app.supabase.targets import MINIMAL_TARGETS
from tests.supabase.calling import SEQUENCE, answer_with, apply, claim
from tests.supabase.entities import make_entity


def write_answer(**parts: object) -> bytes:
    answer = {"sequence": SEQUENCE, "failures": [], "not_tried": []} | parts
    return json.dumps({name: part for name, part in answer.items() if part is not ...}).encode()


def assert_not_ours(answer: object) -> None:
    assert isinstance(answer, RequestFailure)
    assert answer.kind is RequestFailureKind.UNAVAILABLE
    assert "not that of relay_apply" in answer.message
    assert "SUPABASE_URL" in answer.message


async def test_rows_that_an_answer_does_not_name_are_applied() -> None:
    answer = await apply(answer_with(200, write_answer()))
    assert answer == ApplyResult({}, frozenset())


async def test_rows_that_failed_and_rows_that_were_not_tried_are_told_apart() -> None:
    failed = {"operation": 1, "row": 0, "sqlstate": "23505", "message": "taken"}
    body = write_answer(failures=[failed], not_tried=[{"operation": 1, "row": 1}])
    assert await apply(answer_with(200, body)) == ApplyResult(
        {RowPosition(1, 0): RowFailure(RowFailureKind.UNIQUE_CONFLICT, "23505", "taken")},
        frozenset([RowPosition(1, 1)]),
    )


async def test_failure_is_read_by_the_operation_of_its_row() -> None:
    failures = [{"operation": n, "row": 0, "sqlstate": "23503"} for n in (0, 1)]
    answer = await apply(answer_with(200, write_answer(failures=failures)))
    assert isinstance(answer, ApplyResult)
    assert [failure.kind for failure in answer.failures.values()] == [
        RowFailureKind.STILL_REFERENCED,
        RowFailureKind.MISSING_REFERENCE,
    ]


async def test_answer_may_say_more_than_is_known_of() -> None:
    failed = {"operation": 0, "row": 0, "sqlstate": "XX000", "hint": "news"}
    body = write_answer(failures=[failed], news=1)
    assert isinstance(await apply(answer_with(200, body)), ApplyResult)


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
        # Without saying what became of the rows
        write_answer(failures=...),
        write_answer(not_tried=...),
        write_answer(failures=None),
        write_answer(failures={}),
        write_answer(failures=""),
        write_answer(not_tried={}),
        write_answer(failures=["x"]),
        write_answer(failures=[[]]),
        write_answer(not_tried=[7]),
        # Rows that there are not
        *(fail(**place) for place in WRONG_PLACES),
        *(write_answer(not_tried=[{"operation": 0, "row": 0} | place]) for place in WRONG_PLACES),
        write_answer(not_tried=[{"operation": 0}]),
        # Failures that PostgreSQL does not have
        fail(sqlstate=None),
        fail(sqlstate="23"),
        fail(message="\0"),
        fail(message="\ud800"),
    ],
    ids=lambda body: repr(body[:60]),
)
async def test_answer_that_is_not_that_of_the_function_is_no_success(body: bytes) -> None:
    assert_not_ours(await apply(answer_with(200, body)))


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
async def test_success_of_any_status_needs_an_answer(status: int) -> None:
    assert_not_ours(await apply(answer_with(status, b"")))


async def test_claim_gives_the_epoch_of_the_requests_that_follow() -> None:
    assert await claim(answer_with(200, b'{"protocol": 1, "epoch": 42}')) == 42


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
async def test_claim_takes_no_answer_of_another_form(body: bytes) -> None:
    assert_not_ours(await claim(answer_with(200, body)))


async def test_answer_that_names_every_row_of_a_request_is_read() -> None:
    batch = [make_entity(Kind.USER, number) for number in range(500)]
    failures = [
        {"operation": 0, "row": row, "sqlstate": "23505", "message": "m" * 500}
        for row in range(500)
    ]
    operations = plan_request(batch, MINIMAL_TARGETS)
    answer = await apply(answer_with(200, write_answer(failures=failures)), operations=operations)
    assert isinstance(answer, ApplyResult)
    assert len(answer.failures) == 500
