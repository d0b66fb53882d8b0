"""What several migrations do alike."""

import sqlalchemy as sa
from alembic import op


def create_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    """Make an index of those rows alone that meet a condition, in either database."""
    op.create_index(
        name,
        table,
        columns,
        unique=False,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
