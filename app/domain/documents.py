"""Strict JSON in, canonical JSON out."""

import hashlib
import json
from collections.abc import Callable, Mapping
from json.encoder import (  # type: ignore[attr-defined] # CPython's, and undocumented
    c_make_encoder,
    encode_basestring,
    encode_basestring_ascii,
)
from typing import NoReturn

from app.domain.entities import RowText
from app.domain.errors import FieldError, InputInvalid


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _JsonRefused("has an object with the same key twice")
    return unique


def _refuse_constant(_: str) -> NoReturn:
    raise _JsonRefused("has NaN or Infinity, which JSON does not know")


class _JsonRefused(ValueError):
    """The sentence says what strict JSON does not allow."""


def _make_writer(*, ascii_only: bool, sort_keys: bool) -> Callable[[object], str]:
    """Give `JSONEncoder(...).encode` with the encoder made once, and not for every call.

    That took half of the time of writing an event. For what was read or validated: it neither
    looks for circles nor writes anything but JSON's own types.
    """
    write_string = encode_basestring_ascii if ascii_only else encode_basestring
    encode = c_make_encoder(
        None, _refuse_type, write_string, None, ":", ",", sort_keys, False, True
    )
    return lambda document: "".join(encode(document, 0))


def _refuse_type(value: object) -> NoReturn:
    raise TypeError(f"{type(value).__name__} is not of JSON's types")


# Made once: json.loads makes one for every call that is not the default, which took as long as
# reading an event.
_READ = json.JSONDecoder(object_pairs_hook=_unique_object, parse_constant=_refuse_constant).decode
_WRITE_ROW = _make_writer(ascii_only=False, sort_keys=False)
_WRITE_CANONICAL = _make_writer(ascii_only=True, sort_keys=True)


def read_json(body: bytes) -> object:
    """Read strict JSON: UTF-8, no duplicate keys, no NaN or Infinity.

    Raises:
        InputInvalid: with the pointer "" and what is wrong.
    """
    try:
        # json.loads would guess UTF-16 and UTF-32 from bytes; RFC 8259 allows UTF-8 only.
        return _READ(body.decode())
    except _JsonRefused as error:
        raise InputInvalid([FieldError("", str(error))]) from error
    except UnicodeDecodeError as error:
        raise InputInvalid([FieldError("", "is not UTF-8")]) from error
    except RecursionError as error:
        raise InputInvalid([FieldError("", "is nested too deeply")]) from error
    except ValueError as error:
        # Broken JSON, and whole numbers past the length that Python converts.
        raise InputInvalid([FieldError("", "is not valid JSON")]) from error


def write_row(row: Mapping[str, object]) -> RowText:
    """Write a row as canonical JSON text; equal rows give equal texts."""
    return RowText(_WRITE_ROW(row))


def write_pointer(*parts: str | int) -> str:
    """Give the RFC 6901 pointer to a place, from the outside in; "" for the whole document."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def digest_document(document: object) -> bytes:
    """Give the SHA-256 of a JSON document whatever its spacing and the order of its fields.

    Raises:
        InputInvalid: it is nested too deeply.
    """
    try:
        text = _WRITE_CANONICAL(document)
    except RecursionError as error:
        raise InputInvalid([FieldError("", "is nested too deeply")]) from error
    return hashlib.sha256(text.encode("ascii")).digest()
