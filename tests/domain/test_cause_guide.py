"""Errors of dead entities are explained."""

import pytest

from app.domain.cause_guide import find_cause_guide


@pytest.mark.parametrize(
    ("code", "message", "cause"),
    [
        ("23514", 'new row violates check constraint "c"', "A check, length"),
        ("23503", 'insert or update on table "a" violates foreign key', "The parent was missing"),
        ("23503", 'update or delete on table "a" violates foreign key', "Rows of another table"),
        ("23001", 'update or delete on table "a" violates RESTRICT', "Rows of another table"),
        ("42501", "permission denied", "A trigger or policy"),
        ("23505", "duplicate key", "Another row holds"),
    ],
)
def test_cause_guide_is_found_by_code_and_statement(code: str, message: str, cause: str) -> None:
    guide = find_cause_guide(code, message)
    assert guide is not None
    assert guide.cause.startswith(cause)


@pytest.mark.parametrize("code", ["", "XX000", "HTTP 502"])
def test_cause_guide_of_an_unknown_code_is_none(code: str) -> None:
    assert find_cause_guide(code, "unknown") is None
