"""Validating what an operator sends, with the same strictness and the same pointers as events."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from app.domain.documents import read_json, write_pointer
from app.domain.errors import FieldError, InputInvalid

M = TypeVar("M", bound=BaseModel)

REPEATABLE: Final[dict[str, JsonValue]] = {}
"""As a field's `json_schema_extra`: the parameter may be given several times."""


def parse_body(model: type[M], content: bytes) -> M:
    """Read a body into a model.

    Raises:
        InputInvalid: names every place that is wrong.
    """
    return _validate(model, read_json(content), ())


def read_query(model: type[M], parameters: Iterable[tuple[str, str]]) -> M:
    """Read query parameters into a model; a field that is a list takes one given several times.

    Raises:
        InputInvalid: names every parameter that is wrong, as `/query/<name>`.
    """
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for name, text in parameters:
        by_name[name].append(text)
    values: dict[str, object] = {}
    errors: list[FieldError] = []
    for name, given in by_name.items():
        field = model.model_fields.get(name)
        if field is not None and field.json_schema_extra is REPEATABLE:
            values[name] = given
        elif len(given) == 1:
            values[name] = given[0]
        else:
            errors.append(FieldError(write_pointer("query", name), "is given more than once"))
    if errors:
        raise InputInvalid(errors)
    return _validate(model, values, ("query",))


def _validate(model: type[M], document: object, where: tuple[str, ...]) -> M:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputInvalid(
            [
                FieldError(
                    write_pointer(*where, *problem["loc"]),
                    problem["msg"].removeprefix("Value error, "),
                )
                for problem in error.errors(include_url=False, include_input=False)
            ]
        ) from error


def describe_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Give the OpenAPI parameters of a query that `read_query` reads."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    parameters = []
    for name, property_ in schema["properties"].items():
        # A parameter is there or not; it cannot be null.
        types = [each for each in property_.pop("anyOf", []) if each != {"type": "null"}]
        property_.pop("title", None)
        if property_.get("default", ...) is None:
            del property_["default"]
        parameter = {"name": name, "in": "query", "required": False}
        if "description" in property_:
            parameter["description"] = property_.pop("description")
        parameters.append(parameter | {"schema": property_ | (types[0] if types else {})})
    return parameters
