"""Strict JSON in, canonical JSON out."""

import hashlib
import json
from collections.abc import Mapping
from itertools import chain
from typing import Final, NoReturn

from app.domain.entities import RowText
from app.domain.errors import FieldError, InputInvalid

# Below what every Python reads and writes in any place: 3.11 by its recursion limit, later ones by
# limits of their own. One for all, so that an event is not accepted by one and rejected by another.
_LEVELS: Final = 500


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
        document: object = _DECODER.decode(body.decode())
        # Most bodies have fewer brackets than levels that are allowed.
        if body.count(b"[") + body.count(b"{") > _LEVELS and _is_deep(document):
            raise RecursionError
        return document
    except _NotStrict as error:
        raise InputInvalid([FieldError("", str(error))]) from error
    except UnicodeDecodeError as error:
        raise InputInvalid([FieldError("", "is not UTF-8")]) from error
    except RecursionError as error:
        raise InputInvalid([FieldError("", "is nested too deeply")]) from error
    except ValueError as error:
        # Includes integers with more digits than Python converts.
        raise InputInvalid([FieldError("", "is not valid JSON")]) from error


def _is_deep(document: object) -> bool:
    level = [document]
    for _ in range(_LEVELS + 1):
        arrays = (each for each in level if isinstance(each, list))
        objects = (each.values() for each in level if isinstance(each, dict))
        level = list(chain(chain.from_iterable(arrays), chain.from_iterable(objects)))
        if not level:
            return False
    return True


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
