"""What belongs to a user is found by cohort: by those that came about the same time.

In an index of all users, each new membership had a page of its own to be written.
"""

import sqlalchemy as sa
from alembic import op

from app.store.migrations.steps import create_partial_index

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make one cohort of all that is there."""
    op.add_column("entities", sa.Column("cohort", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("entities_of_user", "entities")
    create_partial_index(
        "entities_of_user", "entities", ["cohort", "user_id"], "user_id IS NOT NULL"
    )
    create_partial_index("entities_awaiting", "entities", ["user_id"], "awaits_parent")
