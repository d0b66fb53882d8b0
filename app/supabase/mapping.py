"""Reads TARGET_USERS, TARGET_TRIPS and TARGET_MEMBERSHIPS."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from app.domain.documents import read_json, write_pointer
from app.domain.entities import Kind
from app.domain.errors import InputInvalid
from app.supabase.targets import Inactive, Target, make_target

# NAMEDATALEN - 1: PostgreSQL cuts longer names, and PostgREST then does not find them.
_NAME_BYTES: Final = 63
_SHOWN_CHARACTERS: Final = 80
# NUL as JSON escapes it; after an odd number of backslashes it would be plain text.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_PARTS: Final = ("table", "columns", "copy", "constants", "extra")


class _MappingInvalid(ValueError):
    """One place of the mapping is wrong; the sentence begins with its JSON pointer."""

    def __init__(self, path: tuple[str, ...], sentence: str) -> None:
        super().__init__(f"{write_pointer(*(_shorten(part) for part in path))} {sentence}".strip())


def read_target(kind: Kind, text: str) -> Target:
    """Read the target of one kind.

    Args:
        text: a JSON object; every part is optional.

    Raises:
        ValueError: the mapping is invalid. The sentence begins with a JSON pointer to the place.
    """
    try:
        document = read_json(text.encode())
    except (InputInvalid, UnicodeEncodeError) as error:
        detail = error.errors[0].detail if isinstance(error, InputInvalid) else "is not UTF-8"
        raise ValueError(detail) from None
    parts = _read_object(document, ())
    known = (*_PARTS, "inactive") if kind is Kind.MEMBERSHIP else _PARTS
    for name in parts:
        if name == "inactive" and name not in known:
            raise _MappingInvalid((name,), "is for TARGET_MEMBERSHIPS only")
        if name not in known:
            raise _MappingInvalid((name,), f"is not a part of a target ({', '.join(known)})")
    inactive = parts.get("inactive", Inactive.KEEP)
    if inactive not in list(Inactive):
        raise _MappingInvalid(("inactive",), f"must be one of {', '.join(Inactive)}")
    minimal = make_target(kind)
    schema, table = _read_table(parts.get("table", minimal.table))
    target = replace(
        minimal,
        schema=schema,
        table=table,
        columns={**minimal.columns, **_read_columns(minimal, parts.get("columns", {}))},
        copy=_read_copy(minimal, parts.get("copy", {})),
        constants=_read_constants(parts.get("constants", {})),
        extra=_read_extra(minimal, parts.get("extra", [])),
        inactive=Inactive(inactive),
    )
    _require_one_source(target)
    return target


def _read_object(value: object, path: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _MappingInvalid(path, "must be an object")
    return value


def _read_table(value: object) -> tuple[str | None, str]:
    if not isinstance(value, str):
        raise _MappingInvalid(("table",), "must be a string")
    schema, dot, table = value.rpartition(".")
    if not is_name(table) or (dot and not is_name(schema)):
        raise _MappingInvalid(("table",), "must be the name of a table, or schema.table")
    return (schema if dot else None), table


def _read_columns(minimal: Target, value: object) -> Mapping[str, str]:
    columns = _read_object(value, ("columns",))
    for name, column in columns.items():
        _require_field(minimal, name, ("columns", name))
        _require_column(column, ("columns", name))
    return columns


def _read_copy(minimal: Target, value: object) -> Mapping[str, str]:
    copy = _read_object(value, ("copy",))
    for column, name in copy.items():
        _require_column(column, ("copy", column))
        _require_field(minimal, name, ("copy", column))
    return copy


def _read_constants(value: object) -> Mapping[str, Any]:
    constants = _read_object(value, ("constants",))
    for column, constant in constants.items():
        _require_column(column, ("constants", column))
        try:
            written = json.dumps(constant, allow_nan=False, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            # A lone surrogate, or a number such as 1e999.
            raise _MappingInvalid(("constants", column), "cannot be sent as JSON") from None
        if _NUL.search(written):
            raise _MappingInvalid(("constants", column), "must not contain NUL")
    return constants


def _read_extra(minimal: Target, value: object) -> Mapping[str, str]:
    if isinstance(value, list):
        extra: dict[str, Any] = {}
        for position, name in enumerate(value):
            path = ("extra", str(position))
            _require_column(name, path)
            if name in extra:
                raise _MappingInvalid(path, "is listed twice")
            extra[name] = name
    elif isinstance(value, dict):
        extra = value
    else:
        raise _MappingInvalid(("extra",), "must be an array of names, or an object")
    for name, column in extra.items():
        if name in minimal.columns:
            raise _MappingInvalid(("extra", name), "is a field of the contract already")
        if not _can_be_written(name):
            raise _MappingInvalid(("extra", name), "is not a valid field name")
        _require_column(column, ("extra", name))
    return extra


def _require_field(minimal: Target, name: object, path: tuple[str, ...]) -> None:
    if not isinstance(name, str) or name not in minimal.columns:
        raise _MappingInvalid(
            path, f"is not a field of a {minimal.kind} ({', '.join(minimal.columns)})"
        )


def _require_column(name: object, path: tuple[str, ...]) -> None:
    if not isinstance(name, str) or not is_name(name):
        raise _MappingInvalid(
            path, f"needs a column name: letters, digits and _, at most {_NAME_BYTES} bytes"
        )


def _require_one_source(target: Target) -> None:
    sources = [
        *((column, ("columns", name)) for name, column in target.columns.items()),
        *((column, ("copy", column)) for column in target.copy),
        *((column, ("constants", column)) for column in target.constants),
        *((column, ("extra", name)) for name, column in target.extra.items()),
    ]
    seen: dict[str, str] = {}
    for column, path in sources:
        if column in seen:
            raise _MappingInvalid(path, f"writes the column {column}, as {seen[column]} does")
        seen[column] = write_pointer(*path)


def is_name(text: str) -> bool:
    """Tell whether PostgREST accepts a text as an unquoted name in a URL.

    Source: https://docs.postgrest.org/en/stable/references/api/url_grammar.html
    """
    return text.isidentifier() and len(text.encode()) <= _NAME_BYTES


def _can_be_written(text: str) -> bool:
    return bool(text) and "\x00" not in text and text.encode(errors="replace").decode() == text


def _shorten(text: str) -> str:
    """Shorten a name to one readable line."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return "".join(character if character.isprintable() else "?" for character in shown)
