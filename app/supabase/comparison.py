"""The client of `relay_digest` and `relay_read`: what Supabase holds, between two requests."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, NamedTuple

from app.domain.entities import EntityKey, Kind, split_membership_key
from app.domain.failures import RequestFailure
from app.supabase.client import SupabaseClient, unexpected_response
from app.supabase.targets import Target

PAGE_ROWS: Final = 1000

Texts = tuple[str | None, ...]
"""The texts of a row: of the key columns, then of the other compared columns."""

Constants = Mapping[str, str | None]
"""The texts of the constant columns, as PostgreSQL writes values of their types."""

# Of a longer text, `relay_read` gives these first characters and the MD5.
_SHOWN_CHARACTERS: Final = 100
_SEPARATOR: Final = "\x1f"
_NULL: Final = "\\N"
# json.loads also skips white space, which stored rows do not have, and takes half as long again.
_decode: Final = json.JSONDecoder().raw_decode


class Position(NamedTuple):
    """The last request that the fence let through."""

    epoch: int
    sequence: int


class Bucket(NamedTuple):
    """The rows of one range of keys: their number, and the sum of their digests."""

    rows: int
    total: int


@dataclass(frozen=True, slots=True)
class TableRanges:
    """One table to digest.

    Attributes:
        thresholds: ascending values of the first key column; n of them make n + 1 buckets.
        excluded: keys to leave out.
    """

    target: Target
    thresholds: Sequence[str]
    excluded: Sequence[EntityKey]


@dataclass(frozen=True, slots=True)
class TableDigest:
    """The digest of one table."""

    buckets: tuple[Bucket, ...]
    constants: Constants


@dataclass(frozen=True, slots=True)
class Digest:
    """The digests of tables, in the order in which they were given, in one snapshot."""

    position: Position
    tables: tuple[TableDigest, ...]


@dataclass(frozen=True, slots=True)
class RowPage:
    """Rows in the order of their keys; fewer than PAGE_ROWS at the end of the range.

    Attributes:
        rows: their texts, as `shorten_texts` gives them.
    """

    position: Position
    rows: tuple[Texts, ...]


def list_compared_columns(target: Target) -> tuple[str, ...]:
    """List the columns that are compared besides the key: our own and constants, not `extra`."""
    own = (column for column in target.columns.values() if column not in target.key_columns)
    return (*own, *target.copy, *target.constants)


def make_text_writer(target: Target, constants: Constants) -> Callable[[str], Texts]:
    """Return a function that turns a stored row into the texts that Supabase should hold."""
    sources = {column: name for name, column in target.columns.items()} | dict(target.copy)
    columns = (*target.key_columns, *list_compared_columns(target))
    pick = itemgetter(*(sources[column] for column in columns if column not in target.constants))
    fixed = tuple(constants[column] for column in target.constants)

    def write(row: str) -> Texts:
        return (*pick(_decode(row)[0]), *fixed)

    return write


def digest_texts(texts: Texts) -> int:
    """Compute the digest of one row, as `relay_digest` does."""
    joined = _SEPARATOR.join([_NULL if text is None else text for text in texts])
    return int.from_bytes(_md5(joined)[:4])


def shorten_texts(texts: Texts) -> Texts:
    """Shorten long texts as `relay_read` does, to compare rows with those of a page."""
    return tuple(
        text
        if text is None or len(text) <= _SHOWN_CHARACTERS
        else text[:_SHOWN_CHARACTERS] + _md5(text).hex()
        for text in texts
    )


def split_key(kind: Kind, key: EntityKey) -> tuple[str, ...]:
    """Return the values of the key columns of an entity."""
    return split_membership_key(key) if kind is Kind.MEMBERSHIP else (key,)


async def digest_tables(
    client: SupabaseClient, tables: Sequence[TableRanges]
) -> Digest | RequestFailure:
    """Digest tables in one snapshot."""
    request = {
        "tables": [
            {
                "table": each.target.qualified_name,
                "key": each.target.key_columns,
                "columns": list_compared_columns(each.target),
                "constants": dict(each.target.constants),
                "thresholds": list(each.thresholds),
                "except": [split_key(each.target.kind, key) for key in each.excluded],
            }
            for each in tables
        ]
    }
    document = await client.call("relay_digest", request)
    if isinstance(document, RequestFailure):
        return document
    try:
        found = tuple(
            _read_table(each, answer)
            for each, answer in zip(tables, document["tables"], strict=True)
        )
        return Digest(_read_position(document), found)
    except (KeyError, TypeError, ValueError):
        return unexpected_response("relay_digest")


async def read_page(
    client: SupabaseClient,
    target: Target,
    start: str | None,
    end: str | None,
    after: Sequence[str] | None,
) -> RowPage | RequestFailure:
    """Read the next rows of a table.

    Args:
        start: the first value of the first key column; None from the beginning.
        end: the value of the first key column before which to stop; None for none.
        after: the key of the last row of the previous page.
    """
    columns = list_compared_columns(target)
    document = await client.call(
        "relay_read",
        {
            "table": target.qualified_name,
            "key": target.key_columns,
            "columns": columns,
            "from": start,
            "to": end,
            "after": after,
            "limit": PAGE_ROWS,
        },
    )
    if isinstance(document, RequestFailure):
        return document
    width = len(target.key_columns) + len(columns)
    try:
        rows = tuple(tuple(map(_read_text, row)) for row in document["rows"])
        position = _read_position(document)
    except (KeyError, TypeError, ValueError):
        return unexpected_response("relay_read")
    if any(len(row) != width for row in rows) or len(rows) > PAGE_ROWS:
        return unexpected_response("relay_read")
    return RowPage(position, rows)


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()


def _read_table(given: TableRanges, answer: Mapping[str, Any]) -> TableDigest:
    buckets = tuple(Bucket(int(rows), int(total)) for rows, total in answer["buckets"])
    if len(buckets) != len(given.thresholds) + 1:
        raise ValueError("other buckets than were asked for")
    names = given.target.constants
    return TableDigest(buckets, {name: _read_text(answer["constants"][name]) for name in names})


def _read_text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _read_position(document: Mapping[str, Any]) -> Position:
    return Position(int(document["epoch"]), int(document["sequence"]))
