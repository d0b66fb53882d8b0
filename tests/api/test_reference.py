"""Reading the OpenAPI document for its page."""

from typing import Any

import pytest

from app.api.reference import describe_limits, find_example, list_operation_groups, list_options
from app.api.routes import create_api

NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "limits"),
    [
        ({"type": "string"}, []),
        ({"type": "integer", "minimum": 1, "maximum": 1000}, ["minimum 1", "maximum 1,000"]),
        ({"minLength": 1, "maxLength": 255}, ["minimum length 1", "maximum length 255"]),
        ({"anyOf": [{"minItems": 1, "maxItems": 5}, NULL]}, ["minimum items 1", "maximum items 5"]),
        ({"pattern": "^[0-9]+$"}, ["matches `^[0-9]+$`"]),
        ({"anyOf": [{"type": "string"}, NULL], "default": None}, []),
        ({"type": "boolean", "default": False}, ["default `false`"]),
        ({"type": "string", "default": "ok"}, ["default `ok`"]),
        ({"type": "string", "default": ""}, []),
        ({"type": "string", "examples": ["25", "0.5%"]}, ["for example `25`, `0.5%`"]),
        # Its own article shows them.
        ({"type": "object", "properties": {}, "examples": [{}]}, []),
    ],
)  # fmt: skip
def test_limits_of_a_field_are_described(schema: dict[str, Any], limits: list[str]) -> None:
    assert describe_limits(schema) == limits


def test_options_of_a_schema_are_its_alternatives() -> None:
    assert list_options({"type": "string"}) == [{"type": "string"}]
    assert list_options({"anyOf": [{"type": "string"}, NULL]}) == [{"type": "string"}, NULL]
    assert list_options({"oneOf": [{"$ref": "#/a"}]}) == [{"$ref": "#/a"}]


def test_example_is_the_first_of_the_schema_that_is_referred_to() -> None:
    schemas: dict[str, Any] = {"A": {"examples": [{"n": 1}, {"n": 2}]}, "B": {}}
    assert find_example({"$ref": "#/components/schemas/A"}, schemas) == {"n": 1}
    assert find_example({"$ref": "#/components/schemas/B"}, schemas) is None
    assert find_example({"type": "string"}, schemas) is None


def test_groups_hold_every_operation_once() -> None:
    document = create_api().openapi()
    groups = list_operation_groups(document)
    assert [group.name for group in groups] == [tag["name"] for tag in document["tags"]]
    listed = [(each.method, each.path) for group in groups for each in group.operations]
    wanted = [(method.upper(), path) for path, item in document["paths"].items() for method in item]
    assert sorted(listed) == sorted(wanted)
