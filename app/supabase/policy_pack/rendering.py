"""Renders the policy pack: plain SQL for the tables of a description."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.supabase.identifiers import list_names, quote_text
from app.supabase.policy_pack.description import PackTables
from app.supabase.policy_pack.tables import Table

PARTS: Final = ("trip_access", "trip_tables", "personal_topics")
LIMIT: Final = 500
"""The messages that one statement sends at most."""
MAX_ROW_BYTES: Final = 32 * 1024
MAX_SIGNAL_BYTES: Final = 4 * 1024

_TEMPLATES: Final = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the pack; the files apply in their order.

    Attributes:
        name: without number and extension.
    """

    name: str
    sql: str


def render_pack(tables: PackTables, origin: str) -> Iterator[Part]:
    """Render the pack.

    Args:
        origin: says below the first line where the file comes from.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - SQL: names and texts are quoted by `c`, `name` and filters
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": quote_text, "texts": _list_texts, "names": list_names}
    environment.globals |= {
        "origin": "\n".join(f"-- {line}" for line in origin.splitlines()),
        "users": tables.users,
        "trips": tables.trips,
        "memberships": tables.memberships,
        "messages": tables.chat_messages,
        "receipts": tables.chat_read_receipts,
        "tables": tables.rows,
        "indexes": list(_list_indexes(tables)),
        "followed": list(_list_followed(tables)),
        "referenced": _list_referenced(tables),
        "limit": LIMIT,
        "max_row_bytes": MAX_ROW_BYTES,
        "max_signal_bytes": MAX_SIGNAL_BYTES,
    }
    for name in PARTS:
        yield Part(name, environment.get_template(f"{name}.sql.j2").render())


def _list_indexes(tables: PackTables) -> Iterator[tuple[str, list[str]]]:
    yield tables.memberships.name, [tables.memberships.raw_columns["user_id"]]
    for table in tables.rows:
        for columns in table.indexed:
            if set(columns) <= set(table.raw_columns):
                yield table.name, [table.raw_columns[name] for name in columns]


def _list_followed(tables: PackTables) -> Iterator[tuple[str, list[str]]]:
    yield (
        tables.memberships.name,
        [tables.memberships.raw_columns[n] for n in ("trip_id", "user_id")],
    )
    for table in tables.rows:
        yield (
            table.name,
            [table.raw_columns[name] for name in table.followed if name in table.raw_columns],
        )


def _list_referenced(tables: PackTables) -> Sequence[Table]:
    parents = (tables.users, tables.trips, tables.memberships, tables.chat_messages)
    return [table for table in parents if table is not None]


def _list_texts(texts: Iterable[str]) -> str:
    return ", ".join(map(quote_text, texts))
