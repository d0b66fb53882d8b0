"""Extra fields: only values that one column can store."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import FieldError
from app.domain.extra_fields import MAXIMUM_CHARACTERS, find_problem, read_extra_fields

SCALAR = "must be a string, a number, true, false or null"


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, -(2**63), 2**63 - 1, 0.1, -1e308, "", "x" * MAXIMUM_CHARACTERS, "𝄞é\n"],
)
def test_value_that_one_column_can_store_has_no_problem(value: object) -> None:
    assert find_problem(value) is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([], SCALAR),
        ({}, SCALAR),
        ([1], SCALAR),
        (2**63, "must fit into 64 bits"),
        (-(2**63) - 1, "must fit into 64 bits"),
        (json.loads("1e999"), "is too large a number"),
        (json.loads("-1e999"), "is too large a number"),
        ("x" * (MAXIMUM_CHARACTERS + 1), f"must be at most {MAXIMUM_CHARACTERS} characters"),
        ("a\0", "must not contain NUL"),
        ("a\ud800", "must not contain lone surrogates"),
        ("\udfffa", "must not contain lone surrogates"),
    ],
    ids=lambda value: str(value)[:20].encode("ascii", "replace").decode(),
)
def test_value_that_no_column_can_store_has_a_problem(value: object, problem: str) -> None:
    assert find_problem(value) == problem


def test_fields_are_read_in_the_configured_order_and_problems_named_by_pointer() -> None:
    errors: list[FieldError] = []
    data = {"c": 1, "b": [], "a": None, "d/e": {}, "other": {}}
    assert read_extra_fields(data, ("a", "b", "c", "d/e", "f"), "/data", errors) == {
        "a": None,
        "c": 1,
    }
    assert errors == [FieldError("/data/b", SCALAR), FieldError("/data/d~1e", SCALAR)]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(scalars | st.lists(scalars) | st.text(st.characters(exclude_categories=[])))
def test_any_value_is_kept_unchanged_or_rejected(value: object) -> None:
    errors: list[FieldError] = []
    extra = read_extra_fields({"a": value}, ["a"], "", errors)
    assert bool(errors) == ("a" not in extra)
    if extra:
        # As the store and the wire write it.
        text = json.dumps(extra, allow_nan=False, ensure_ascii=False).encode()
        assert json.loads(text) == {"a": value}
        assert b"\\u0000" not in text.replace(b"\\\\", b"")
