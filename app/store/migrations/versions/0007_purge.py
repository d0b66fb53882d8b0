"""The purge remembers how far it has come: a clock that jumps ahead cannot erase the history."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; without a row, the first purge begins at the oldest event."""
    op.create_table(
        "purge",
        sa.Column("id", sa.Integer(), primary_key=True, nullable=False),
        sa.Column("cutoff", sa.BigInteger(), nullable=False),
        sa.Column("purged_at", sa.BigInteger(), nullable=False),
    )
