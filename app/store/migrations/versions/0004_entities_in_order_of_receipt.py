"""Entities lie in the order in which they came, and what is pending is found by kind as well.

SQLite kept them by key. A new one then landed on a page of its own, among wide rows that had to be
moved apart; an event wrote half as many pages again, and a batch that was applied lay on as many
pages as it had rows.
"""

import sqlalchemy as sa
from alembic import op

from app.store.migrations.steps import create_partial_index

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = (
    "kind, key, user_id, occurred_at, is_removal, sequence, row, removed_at, removal_sequence,"
    " state, priority, revision, pending_since, due_at, attempts, awaits_parent, waiting_since,"
    " in_flight_until, last_error_code, last_error, applied_occurred_at, applied_sequence,"
    " applied_at, latest_event, replay"
)
_INDEXES: dict[str, tuple[list[str], str]] = {
    "entities_in_flight": (["in_flight_until"], "in_flight_until IS NOT NULL"),
    "entities_dead": (["kind", "key"], "state = 'dead'"),
    "entities_replayed": (["replay", "state"], "replay IS NOT NULL AND state <> 'applied'"),
    "entities_of_user": (["user_id"], "user_id IS NOT NULL"),
}


def upgrade() -> None:
    """Lay the table anew where that is SQLite's, and the index of what is pending everywhere."""
    op.drop_index("entities_pending", "entities")
    if op.get_bind().dialect.name == "sqlite":
        _lay_anew()
    create_partial_index(
        "entities_pending", "entities", ["priority", "due_at", "kind"], "state = 'pending'"
    )


def _lay_anew() -> None:
    for name in _INDEXES:
        op.drop_index(name, "entities")
    op.rename_table("entities", "entities_by_key")
    op.create_table(
        "entities",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=True),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("is_removal", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("row", sa.Text(), nullable=True),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.Column("removal_sequence", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("pending_since", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("awaits_parent", sa.Boolean(), nullable=False),
        sa.Column("waiting_since", sa.BigInteger(), nullable=True),
        sa.Column("in_flight_until", sa.BigInteger(), nullable=True),
        sa.Column("last_error_code", sa.Text(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("applied_occurred_at", sa.BigInteger(), nullable=True),
        sa.Column("applied_sequence", sa.BigInteger(), nullable=True),
        sa.Column("applied_at", sa.BigInteger(), nullable=True),
        sa.Column("latest_event", sa.BigInteger(), nullable=True),
        sa.Column("replay", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "key"),
    )
    op.execute(
        f"INSERT INTO entities ({_COLUMNS})"  # noqa: S608 - the columns are the constant above
        f" SELECT {_COLUMNS} FROM entities_by_key ORDER BY latest_event"
    )
    op.drop_table("entities_by_key")
    for name, (columns, where) in _INDEXES.items():
        create_partial_index(name, "entities", columns, where)
