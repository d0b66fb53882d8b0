"""What belongs to a user is found by cohort: by those that came about the same time.

In an index of all users, each new membership had a page of its own to be written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make one cohort of all that is there."""
    op.add_column("entities", sa.Column("cohort", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("entities_of_user", "entities")
    _create_index("entities_of_user", ["cohort", "user_id"], "user_id IS NOT NULL")
    _create_index("entities_awaiting", ["user_id"], "awaits_parent")


def _create_index(name: str, columns: list[str], where: str) -> None:
    op.create_index(
        name,
        "entities",
        columns,
        unique=False,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
