"""Reads the OpenAPI document for the page that shows it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_BOUNDS: Final = {
    "minimum": "minimum {}",
    "maximum": "maximum {}",
    "minLength": "minimum length {}",
    "maxLength": "maximum length {}",
    "minItems": "minimum items {}",
    "maxItems": "maximum items {}",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `description` is the document's object of it."""

    method: str
    path: str
    description: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OperationGroup:
    """The operations of a tag."""

    name: str
    description: str
    operations: Sequence[Operation]


def list_operation_groups(document: Mapping[str, Any]) -> Sequence[OperationGroup]:
    """List the operations by tag, both in the document's order."""
    operations = [
        Operation(method.upper(), path, description)
        for path, item in document["paths"].items()
        for method, description in item.items()
    ]
    return [
        OperationGroup(
            tag["name"],
            tag["description"],
            [each for each in operations if tag["name"] in each.description["tags"]],
        )
        for tag in document["tags"]
    ]


def name_schema(reference: str) -> str:
    """Return the name of a schema from a `$ref` to it."""
    return reference.rpartition("/")[2]


def list_options(schema: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """List the schemas of which one applies."""
    options: Sequence[Mapping[str, Any]] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return options


def describe_limits(schema: Mapping[str, Any]) -> Sequence[str]:
    """Describe what the value of a field must be, beyond its type."""
    merged: dict[str, Any] = {}
    for option in (*list_options(schema), schema):
        merged |= option
    limits = [
        phrase.format(f"{merged[name]:,}") for name, phrase in _BOUNDS.items() if name in merged
    ]
    if "pattern" in merged:
        limits.append(f"matches `{merged['pattern']}`")
    if merged.get("default") not in (None, "", []):
        limits.append(f"default `{write_value(merged['default'])}`")
    examples = merged.get("examples", ())
    if examples and "$ref" not in merged and "properties" not in merged:
        limits.append("for example " + ", ".join(f"`{write_value(each)}`" for each in examples))
    return limits


def write_value(value: object) -> str:
    """Write a value of a schema as a reader writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def find_example(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Return the first example of the schema that is referred to; None without one."""
    if "$ref" not in schema:
        return None
    return next(iter(schemas[name_schema(schema["$ref"])].get("examples", ())), None)
