"""Fields beside the contract that a deployment has asked for: JSON scalars of bounded size."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from app.domain.documents import write_pointer
from app.domain.errors import FieldError
from app.domain.events import Scalar

# As long as the longest URL that everything passes on; what is longer is content.
MAXIMUM_CHARACTERS: Final = 2048
# What bigint holds.
_LEAST_NUMBER: Final = -(2**63)
_GREATEST_NUMBER: Final = 2**63 - 1


def read_extra(
    data: Mapping[str, object], names: Sequence[str], pointer: str, errors: list[FieldError]
) -> dict[str, Scalar]:
    """Give the fields named that are there, in the order of `names`.

    Args:
        data: of the event, as it was sent.
        names: of the fields to let through.
        pointer: to `data`.
        errors: what is wrong with them is added here.
    """
    extra: dict[str, Scalar] = {}
    for name in names:
        if name not in data:
            continue
        value = data[name]
        fault = find_fault(value)
        if fault is not None:
            errors.append(FieldError(pointer + write_pointer(name), fault))
        elif value is None or isinstance(value, str | int | float):
            extra[name] = value
    return extra


def find_fault(value: object) -> str | None:
    """Say what keeps a JSON value from being stored in one column; None when nothing does."""
    match value:
        case None | bool():
            return None
        case str():
            return _find_fault_in_text(value)
        case int() if not _LEAST_NUMBER <= value <= _GREATEST_NUMBER:
            return "must fit into 64 bits"
        case float() if not math.isfinite(value):
            # 1e999 is valid JSON, and Infinity in Python, which JSON does not know.
            return "is too large a number"
        case int() | float():
            return None
        case _:
            return "must be a string, a number, true, false or null"


def _find_fault_in_text(text: str) -> str | None:
    if len(text) > MAXIMUM_CHARACTERS:
        return f"must be at most {MAXIMUM_CHARACTERS} characters"
    if "\x00" in text:
        return "must not contain NUL"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "must not contain lone surrogates"
    return None
