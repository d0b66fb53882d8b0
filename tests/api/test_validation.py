"""Validation errors name the field by JSON pointer, and never its value."""

import json
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.api.request_body import parse_body
from app.domain.errors import InputInvalid
from tests.api.relay_harness import RunningRelay

VALUE = "what-somebody-wrote"


class Inner(BaseModel):
    """Nested."""

    model_config = ConfigDict(extra="forbid", strict=True)

    count: Annotated[int, Field(ge=1)]


class Form(BaseModel):
    """An operator's form."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    parts: list[Inner] = []

    @field_validator("name")
    @classmethod
    def _refuse(cls, value: str) -> str:
        if value == VALUE:
            raise ValueError("must be another")
        return value


def read_wrong(content: bytes) -> dict[str, str]:
    with pytest.raises(InputInvalid) as caught:
        parse_body(Form, content)
    errors = {error.pointer: error.detail for error in caught.value.errors}
    assert all(errors.values())
    assert VALUE not in str(errors.values())
    return errors


def test_form_that_is_right_is_read() -> None:
    form = parse_body(Form, b'{"parts": [{"count": 1}], "name": "\xc3\xa9"}')
    assert form == Form(name="é", parts=[Inner(count=1)])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/name"}),
        ([], {""}),
        (VALUE, {""}),
        ({"name": 7}, {"/name"}),
        ({"name": VALUE}, {"/name"}),
        ({"name": "a", "parts": VALUE}, {"/parts"}),
        (
            {"name": "a", "parts": [{"count": 1}, {"count": 0}, VALUE]},
            {"/parts/1/count", "/parts/2"},
        ),
        ({"name": "a", "other": VALUE}, {"/other"}),
        ({"name": "a", "": VALUE}, {"/"}),
        # RFC 6901: "~" is written "~0", "/" is written "~1".
        ({"name": "a", "m~n": VALUE, "a/b": VALUE}, {"/m~0n", "/a~1b"}),
        ({"name": "a", "~1": VALUE}, {"/~01"}),
    ],
    ids=lambda value: json.dumps(value)[:40] if not isinstance(value, set) else "",
)
def test_form_that_is_invalid_names_every_field(body: object, pointers: set[str]) -> None:
    assert set(read_wrong(json.dumps(body).encode())) == pointers


def test_form_rejected_by_a_validator_shows_its_message_only() -> None:
    assert read_wrong(json.dumps({"name": VALUE}).encode()) == {"/name": "must be another"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"name": "a", "name": "a"}', b'{"name": NaN}', b"[" * 9999],
)
def test_form_that_is_no_strict_json_is_wrong_as_a_whole(content: bytes) -> None:
    assert set(read_wrong(content)) == {""}


@pytest.mark.parametrize("name", ["\ud800", "a\udfff"])
def test_form_with_a_lone_surrogate_in_a_name_can_be_answered(name: str) -> None:
    # UTF-8 cannot carry one back in the answer.
    for pointer, detail in read_wrong(json.dumps({"name": "a", name: 1}).encode()).items():
        assert (pointer + detail).encode()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ([], {"": "must be an object"}),
        ({}, {"/name": "is required"}),
        ({"name": 7}, {"/name": "must be a string"}),
        ({"name": "a", "other": 1}, {"/other": "is unknown"}),
        ({"name": "a", "parts": {}}, {"/parts": "must be an array"}),
        ({"name": "a", "parts": [{"count": 0}]}, {"/parts/0/count": "must be at least 1"}),
    ],
)
def test_form_that_is_invalid_gets_a_plain_detail(body: object, errors: dict[str, str]) -> None:
    assert read_wrong(json.dumps(body).encode()) == errors


async def test_query_that_is_invalid_gets_plain_details(relay: RunningRelay) -> None:
    response = await relay.http.get(
        "/events?limit=x&status=gone&more=1", headers=relay.bear("events:read")
    )
    errors = {error["pointer"]: error["detail"] for error in response.json()["errors"]}
    assert errors == {
        "/query/limit": "must be a whole number",
        "/query/more": "is unknown",
        "/query/status": "must be 'pending', 'applied', 'superseded' or 'dead'",
    }
