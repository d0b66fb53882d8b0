"""Shows what may stand beside the contract: what one column can hold, and nothing larger."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import FieldError
from app.domain.extras import MAXIMUM_CHARACTERS, find_fault, read_extra

SCALAR = "must be a string, a number, true, false or null"


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, -(2**63), 2**63 - 1, 0.1, -1e308, "", "x" * MAXIMUM_CHARACTERS, "𝄞é\n"],
)
def test_value_that_one_column_can_hold_has_no_fault(value: object) -> None:
    assert find_fault(value) is None


@pytest.mark.parametrize(
    ("value", "fault"),
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
def test_value_that_no_column_can_hold_has_a_fault_that_does_not_repeat_it(
    value: object, fault: str
) -> None:
    assert find_fault(value) == fault


def test_fields_are_read_in_the_order_of_their_names_and_faults_are_told_by_pointer() -> None:
    errors: list[FieldError] = []
    data = {"c": 1, "b": [], "a": None, "d/e": {}, "other": {}}
    assert read_extra(data, ("a", "b", "c", "d/e", "f"), "/data", errors) == {"a": None, "c": 1}
    assert errors == [FieldError("/data/b", SCALAR), FieldError("/data/d~1e", SCALAR)]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(scalars | st.lists(scalars) | st.text(st.characters(exclude_categories=[])))
def test_any_value_is_let_through_unchanged_or_refused(value: object) -> None:
    errors: list[FieldError] = []
    extra = read_extra({"a": value}, ["a"], "", errors)
    assert bool(errors) == ("a" not in extra)
    if extra:
        # What the store and the wire do with it.
        text = json.dumps(extra, allow_nan=False, ensure_ascii=False).encode()
        assert json.loads(text) == {"a": value}
        assert b"\\u0000" not in text.replace(b"\\\\", b"")
