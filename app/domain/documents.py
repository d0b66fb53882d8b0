"""Strict JSON in, canonical JSON out."""

import hashlib
import json
from collections.abc import Mapping
from typing import NoReturn

from app.domain.entities import RowText
from app.domain.errors import FieldError, InputInvalid


class _NotStrict(ValueError):
    """Valid for Python's decoder, but not strict JSON; the message says why."""


def _reject_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _NotStrict("contains the same key twice in one object")
    return unique


def _reject_constant(_: str) -> NoReturn:
    raise _NotStrict("contains NaN or Infinity, which JSON does not allow")


# Made once: json.loads and json.dumps make a new one for every call that is not the default, which
# takes as long as reading or writing an event.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_reject_duplicate_keys, parse_constant=_reject_constant
)
_ROW_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
_CANONICAL_ENCODER = json.JSONEncoder(sort_keys=True, check_circular=False, separators=(",", ":"))


def read_json(body: bytes) -> object:
    """Read strict JSON: UTF-8, no duplicate keys, no NaN or Infinity.

    Raises:
        InputInvalid: with the pointer "" and the reason.
    """
    try:
        # json.loads would guess UTF-16 and UTF-32 from bytes; RFC 8259 allows UTF-8 only.
        return _DECODER.decode(body.decode())
    except _NotStrict as error:
        raise InputInvalid([FieldError("", str(error))]) from error
    except UnicodeDecodeError as error:
        raise InputInvalid([FieldError("", "is not UTF-8")]) from error
    except RecursionError as error:
        raise InputInvalid([FieldError("", "is nested too deeply")]) from error
    except ValueError as error:
        # Includes integers with more digits than Python converts.
        raise InputInvalid([FieldError("", "is not valid JSON")]) from error


def write_row(row: Mapping[str, object]) -> RowText:
    """Write a row as canonical JSON text; equal rows give equal texts."""
    return RowText(_ROW_ENCODER.encode(row))


def write_pointer(*parts: str | int) -> str:
    """Write an RFC 6901 JSON pointer; without parts it is "", the whole document."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def digest_document(document: object) -> bytes:
    """Compute the SHA-256 of a JSON document, independent of white space and field order.

    Raises:
        InputInvalid: the document is nested too deeply.
    """
    try:
        text = _CANONICAL_ENCODER.encode(document)
    except RecursionError as error:
        raise InputInvalid([FieldError("", "is nested too deeply")]) from error
    return hashlib.sha256(text.encode("ascii")).digest()
