"""How large the store is."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from app.store.schema import metadata
from app.store.store_url import is_shared


class StorePart(StrEnum):
    """What a store consists of: the first two of SQLite, the others of PostgreSQL."""

    DATABASE = "database"
    WRITE_AHEAD_LOG = "write_ahead_log"
    TABLES = "tables"
    INDEXES = "indexes"


# Only the relay's own: the database may have other users.
_MEASURE: Final = text("""
SELECT coalesce(sum(pg_table_size(id)), 0)::bigint AS tables,
  coalesce(sum(pg_indexes_size(id)), 0)::bigint AS indexes
FROM (SELECT to_regclass(name) AS id FROM unnest(CAST(:names AS text[])) AS name) AS named
""")
_SELECT_FILE: Final = "SELECT file FROM pragma_database_list WHERE name = 'main'"


def measure_store(connection: Connection) -> Mapping[StorePart, int]:
    """Return the size of each part in bytes.

    Raises:
        OSError: a file cannot be inspected.
    """
    if is_shared(connection.engine.url):
        row = connection.execute(_MEASURE, {"names": list(metadata.tables)}).one()
        return {StorePart.TABLES: row.tables, StorePart.INDEXES: row.indexes}
    # A connection that has used temporary tables has a second database.
    path = connection.exec_driver_sql(_SELECT_FILE).scalar_one()
    log = Path(f"{path}-wal")
    return {
        StorePart.DATABASE: Path(path).stat().st_size,
        StorePart.WRITE_AHEAD_LOG: log.stat().st_size if log.exists() else 0,
    }
