"""Configured fields beyond the contract: JSON scalars of bounded size."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from app.domain.documents import write_pointer
from app.domain.errors import FieldError
from app.domain.events import Scalar

# The length of the longest URL that common software accepts.
MAXIMUM_CHARACTERS: Final = 2048
# The range of PostgreSQL's bigint.
_LEAST_INTEGER: Final = -(2**63)
_GREATEST_INTEGER: Final = 2**63 - 1


def read_extra_fields(
    data: Mapping[str, object], names: Sequence[str], pointer: str, errors: list[FieldError]
) -> dict[str, Scalar]:
    """Read the named fields that are present, in the order of `names`.

    Args:
        pointer: to `data`.
        errors: receives an error for each field that is invalid.
    """
    extra: dict[str, Scalar] = {}
    for name in names:
        if name not in data:
            continue
        value = data[name]
        problem = find_problem(value)
        if problem is not None:
            errors.append(FieldError(pointer + write_pointer(name), problem))
        elif value is None or isinstance(value, str | int | float):
            extra[name] = value
    return extra


def find_problem(value: object) -> str | None:
    """Return why one column cannot store a JSON value; None if it can."""
    match value:
        case None | bool():
            return None
        case str() if len(value) > MAXIMUM_CHARACTERS:
            return f"must be at most {MAXIMUM_CHARACTERS} characters"
        case str() if "\x00" in value:
            return "must not contain NUL"
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            return "must not contain lone surrogates"
        case int() if not _LEAST_INTEGER <= value <= _GREATEST_INTEGER:
            return "must fit into 64 bits"
        case float() if not math.isfinite(value):
            # 1e999 is valid JSON, and Infinity in Python.
            return "is too large a number"
        case str() | int() | float():
            return None
        case _:
            return "must be a string, a number, true, false or null"
