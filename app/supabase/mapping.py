"""Reads TARGET_USERS, TARGET_TRIPS and TARGET_MEMBERSHIPS."""

import json
import re
from collections.abc import Callable, Mapping
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
    if not isinstance(document, dict):
        raise _MappingInvalid((), "must be an object")
    parts: dict[str, Any] = document
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
    maps = {part: _read_part(minimal, part, parts.get(part, {})) for part in _RULES}
    target = replace(
        minimal,
        schema=schema,
        table=table,
        inactive=Inactive(inactive),
        columns={**minimal.columns, **maps["columns"]},
        copy=maps["copy"],
        constants=maps["constants"],
        extra=maps["extra"],
    )
    _require_one_source(target)
    return target


def _read_table(value: object) -> tuple[str | None, str]:
    if not isinstance(value, str):
        raise _MappingInvalid(("table",), "must be a string")
    schema, dot, table = value.rpartition(".")
    if not is_name(table) or (dot and not is_name(schema)):
        raise _MappingInvalid(("table",), "must be the name of a table, or schema.table")
    return (schema if dot else None), table


def _read_part(minimal: Target, part: str, value: object) -> Mapping[str, Any]:
    """Read one of `columns`, `copy`, `constants` and `extra`."""
    if part == "extra" and isinstance(value, list):
        for position, name in enumerate(value):
            problem = _check_column(minimal, name)
            if problem or name in value[:position]:
                raise _MappingInvalid((part, str(position)), problem or "is listed twice")
        value = dict(zip(value, value, strict=True))
    if not isinstance(value, dict):
        names = "an array of names, or " if part == "extra" else ""
        raise _MappingInvalid((part,), f"must be {names}an object")
    check_name, check_value = _RULES[part]
    for name, each in value.items():
        problem = check_name(minimal, name) or check_value(minimal, each)
        if problem:
            raise _MappingInvalid((part, name), problem)
    return value


def _check_field(minimal: Target, name: object) -> str:
    if isinstance(name, str) and name in minimal.columns:
        return ""
    return f"is not a field of a {minimal.kind} ({', '.join(minimal.columns)})"


def _check_column(_: Target, name: object) -> str:
    if isinstance(name, str) and is_name(name):
        return ""
    return f"needs a column name: letters, digits and _, at most {_NAME_BYTES} bytes"


def _check_constant(_: Target, constant: object) -> str:
    try:
        written = json.dumps(constant, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "cannot be sent as JSON"  # a lone surrogate, or a number such as 1e999
    return "must not contain NUL" if _NUL.search(written) else ""


def _check_extra_field(minimal: Target, name: object) -> str:
    if name in minimal.columns:
        return "is a field of the contract already"
    text = str(name)
    is_text = text and "\x00" not in text and text.encode(errors="replace").decode() == text
    return "" if is_text else "is not a valid field name"


# What the names and the values of each part must be; the sentence of a mistake, or "".
_Check = Callable[[Target, object], str]
_RULES: Final[Mapping[str, tuple[_Check, _Check]]] = {
    "columns": (_check_field, _check_column),
    "copy": (_check_column, _check_field),
    "constants": (_check_column, _check_constant),
    "extra": (_check_extra_field, _check_column),
}


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


def _shorten(text: str) -> str:
    """Shorten a name to one readable line."""
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return "".join(character if character.isprintable() else "?" for character in shown)
