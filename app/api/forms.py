"""Validating an operator's JSON, with the same strictness and the same pointers as events."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from app.domain.documents import read_json, write_pointer
from app.domain.errors import FieldError, InputInvalid

M = TypeVar("M", bound=BaseModel)


def read_form(model: type[M], content: bytes) -> M:
    """Read a body into a model.

    Raises:
        InputInvalid: names every place that is wrong.
    """
    document = read_json(content)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputInvalid(
            [
                FieldError(
                    write_pointer(*problem["loc"]),
                    problem["msg"].removeprefix("Value error, "),
                )
                for problem in error.errors(include_url=False, include_input=False)
            ]
        ) from error
