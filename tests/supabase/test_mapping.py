"""What a mapping may contain; a mistake is named by pointer."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.entities import Kind
from app.supabase.mapping import read_target
from app.supabase.targets import MINIMAL_TARGETS, Inactive

COLUMN = "needs a column name: letters, digits and _, at most 63 bytes"
USER_FIELDS = "is not a field of a user (id, email, username)"


def refuse(mapping: object, kind: Kind = Kind.USER) -> str:
    text = mapping if isinstance(mapping, str) else json.dumps(mapping)
    with pytest.raises(ValueError, match=r"\S") as caught:
        read_target(kind, text)
    return str(caught.value)


@pytest.mark.parametrize("kind", Kind)
def test_mapping_empty_is_the_minimal_target(kind: Kind) -> None:
    assert read_target(kind, "{}") == MINIMAL_TARGETS[kind]


def test_mapping_with_every_part_is_read() -> None:
    target = read_target(
        Kind.MEMBERSHIP,
        """{"table": "app.members",
            "columns": {"user_id": "memberId", "role": "función"},
            "copy": {"profile_id": "user_id"},
            "constants": {"deleted_at": null, "meta": {"by": ["relay", 1.5]}},
            "extra": {"joined-at": "joined_at", "note": "note"},
            "inactive": "remove"}""",
    )
    assert (target.schema, target.table) == ("app", "members")
    assert target.columns == {
        "trip_id": "trip_id",
        "user_id": "memberId",
        "role": "función",
        "status": "status",
    }
    assert target.copy == {"profile_id": "user_id"}
    assert target.constants == {"deleted_at": None, "meta": {"by": ["relay", 1.5]}}
    assert target.extra == {"joined-at": "joined_at", "note": "note"}
    assert target.inactive is Inactive.REMOVE


def test_extra_as_a_list_maps_to_columns_of_the_same_names() -> None:
    target = read_target(Kind.TRIP, '{"extra": ["start_date", "end_date"]}')
    assert list(target.extra.items()) == [("start_date", "start_date"), ("end_date", "end_date")]


def test_fields_of_the_contract_may_swap_columns() -> None:
    target = read_target(Kind.USER, '{"columns": {"email": "username", "username": "email"}}')
    assert target.written_columns == ("id", "username", "email")


@pytest.mark.parametrize(
    ("mapping", "sentence"),
    [
        ("", "is not valid JSON"),
        ("users", "is not valid JSON"),
        ('{"table": "a", "table": "b"}', "contains the same key twice in one object"),
        ('{"constants": {"a": NaN}}', "contains NaN or Infinity, which JSON does not allow"),
        ("\ud800", "is not UTF-8"),
        ("[]", "must be an object"),
        (
            {"tabel": "a"},
            "/tabel is not a part of a target (table, columns, copy, constants, extra)",
        ),
        ({"inactive": "remove"}, "/inactive is for TARGET_MEMBERSHIPS only"),
        ({"columns": []}, "/columns must be an object"),
        ({"columns": {"nickname": "a"}}, f"/columns/nickname {USER_FIELDS}"),
        ({"columns": {"email": ""}}, f"/columns/email {COLUMN}"),
        ({"columns": {"email": None}}, f"/columns/email {COLUMN}"),
        ({"columns": {"email": "e mail"}}, f"/columns/email {COLUMN}"),
        ({"columns": {"email": "e,mail"}}, f"/columns/email {COLUMN}"),
        ({"columns": {"email": "1st"}}, f"/columns/email {COLUMN}"),
        ({"columns": {"email": "é" * 32}}, f"/columns/email {COLUMN}"),
        ({"columns": {"email": "id"}}, "/columns/email writes the column id, as /columns/id does"),
        ({"copy": ["id"]}, "/copy must be an object"),
        ({"copy": {"a": "nickname"}}, f"/copy/a {USER_FIELDS}"),
        ({"copy": {"a": ["id"]}}, f"/copy/a {USER_FIELDS}"),
        ({"copy": {"a.b": "id"}}, f"/copy/a.b {COLUMN}"),
        ({"copy": {"a/b~": "id"}}, f"/copy/a~1b~0 {COLUMN}"),
        (
            {"copy": {"email": "id"}},
            "/copy/email writes the column email, as /columns/email does",
        ),
        ({"constants": None}, "/constants must be an object"),
        ({"constants": {"": 1}}, f"/constants/ {COLUMN}"),
        ('{"constants": {"a": 1e999}}', "/constants/a cannot be sent as JSON"),
        ('{"constants": {"a": ["\\ud800"]}}', "/constants/a cannot be sent as JSON"),
        ('{"constants": {"a": {"b": "x\\u0000"}}}', "/constants/a must not contain NUL"),
        (
            {"copy": {"a": "id"}, "constants": {"a": 1}},
            "/constants/a writes the column a, as /copy/a does",
        ),
        ({"extra": "bio"}, "/extra must be an array of names, or an object"),
        ({"extra": ["bio", "bio"]}, "/extra/1 is listed twice"),
        ({"extra": ["bi o"]}, f"/extra/0 {COLUMN}"),
        ({"extra": [1]}, f"/extra/0 {COLUMN}"),
        ({"extra": {"": "bio"}}, "/extra/ is not a valid field name"),
        ({"extra": {"b\0": "bio"}}, "/extra/b? is not a valid field name"),
        ({"extra": {"bio": 1}}, f"/extra/bio {COLUMN}"),
        ({"extra": ["email"]}, "/extra/email is a field of the contract already"),
        (
            {"extra": {"mail": "email"}},
            "/extra/mail writes the column email, as /columns/email does",
        ),
        (
            {"extra": {"a": "x", "b": "x"}},
            "/extra/b writes the column x, as /extra/a does",
        ),
    ],
)
def test_mapping_with_a_mistake_is_rejected_at_its_pointer(mapping: object, sentence: str) -> None:
    assert refuse(mapping) == sentence


@pytest.mark.parametrize(
    "table", ["", ".", "a.", ".a", "a.b.c", "a b", "a/b", "../users", "users?", 1, None]
)
def test_table_with_an_invalid_name_is_rejected(table: object) -> None:
    assert refuse({"table": table}).startswith("/table must be ")


def test_key_columns_that_are_equal_are_rejected() -> None:
    sentence = refuse({"columns": {"user_id": "trip_id"}}, Kind.MEMBERSHIP)
    assert sentence == "/columns/user_id writes the column trip_id, as /columns/trip_id does"


@pytest.mark.parametrize("inactive", ["drop", "", None, ["remove"]])
def test_inactive_with_another_value_is_rejected(inactive: object) -> None:
    sentence = refuse({"inactive": inactive}, Kind.MEMBERSHIP)
    assert sentence == "/inactive must be one of keep, remove"


def test_constant_with_the_text_of_a_nul_escape_is_kept() -> None:
    target = read_target(Kind.USER, r'{"constants": {"a": "\\u0000"}}')
    assert target.constants == {"a": "\\u0000"}


def test_mistake_with_a_long_name_is_one_short_line() -> None:
    sentence = refuse({"x" * 10_000: 1, "y\n": 2})
    assert len(sentence) < 250
    assert "\n" not in sentence


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
parts = st.sampled_from(["table", "columns", "copy", "constants", "extra", "inactive"])
names = st.sampled_from(["id", "email", "name", "trip_id", "x", "y"])


@given(
    st.sampled_from(Kind),
    st.text()
    | values.map(json.dumps)
    | st.dictionaries(parts, values | st.dictionaries(names, names) | st.lists(names)).map(
        json.dumps
    ),
)
def test_mapping_of_any_form_is_read_or_rejected_in_one_line(kind: Kind, text: str) -> None:
    target, sentence = MINIMAL_TARGETS[kind], ""
    try:
        target = read_target(kind, text)
    except ValueError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(set(target.written_columns)) == len(target.written_columns)
    json.dumps(target.constants, allow_nan=False).encode()
