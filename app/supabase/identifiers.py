"""Names and texts as PostgreSQL reads them."""

import re
from collections.abc import Iterable
from typing import Final

# Words of PostgreSQL 18 that name a table or column only in quotes.
RESERVED: Final = frozenset({
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
    "authorization", "binary", "both", "case", "cast", "check", "collate", "collation", "column",
    "concurrently", "constraint", "create", "cross", "current_catalog", "current_date",
    "current_role", "current_schema", "current_time", "current_timestamp", "current_user",
    "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch",
    "for", "foreign", "freeze", "from", "full", "grant", "group", "having", "ilike", "in",
    "initially", "inner", "intersect", "into", "is", "isnull", "join", "lateral", "leading",
    "left", "like", "limit", "localtime", "localtimestamp", "natural", "not", "notnull", "null",
    "offset", "on", "only", "or", "order", "outer", "overlaps", "placing", "primary",
    "references", "returning", "right", "select", "session_user", "similar", "some", "symmetric",
    "system_user", "table", "tablesample", "then", "to", "trailing", "true", "union", "unique",
    "user", "using", "variadic", "verbose", "when", "where", "window", "with",
})  # fmt: skip


def quote(name: str) -> str:
    """Write an identifier."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name, re.ASCII) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Write a string literal."""
    return "'" + text.replace("'", "''") + "'"


def list_names(names: Iterable[str]) -> str:
    """Write identifiers, separated by commas."""
    return ", ".join(map(quote, names))


def name_table(schema: str, table: str) -> str:
    """Write the name of a table or function."""
    return f"{quote(schema)}.{quote(table)}"
