"""The first schema."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from app.store.postgres_receive import FUNCTION_FILE

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "entities",
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("user_id", sa.Text()),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("is_removal", sa.Boolean(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("row", sa.Text()),
        sa.Column("removed_at", sa.BigInteger()),
        sa.Column("removal_sequence", sa.BigInteger()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("pending_since", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("awaits_parent", sa.Boolean(), nullable=False),
        sa.Column("waiting_since", sa.BigInteger()),
        sa.Column("request_limit", sa.SmallInteger()),
        sa.Column("last_error_code", sa.Text()),
        sa.Column("last_error", sa.Text()),
        sa.Column("applied_occurred_at", sa.BigInteger()),
        sa.Column("applied_sequence", sa.BigInteger()),
        sa.Column("applied_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revocation_received_at", sa.BigInteger()),
        sa.Column("latest_event", sa.BigInteger()),
        sa.Column("replay", sa.BigInteger()),
        sa.PrimaryKeyConstraint("kind", "key"),
    )
    _create_partial_index("entities_dead", "entities", ["kind", "key"], "state = 'dead'")
    _create_partial_index(
        "entities_dead_of", "entities", ["last_error_code", "last_error"], "state = 'dead'"
    )
    op.create_index("entities_of_user", "entities", ["user_id"])
    _create_partial_index(
        "entities_replayed",
        "entities",
        ["replay", "state"],
        "replay IS NOT NULL AND state <> 'applied'",
    )
    op.create_table(
        "events",
        sa.Column("sequence", _SEQUENCE, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("key", _KEY, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), nullable=False),
        sa.Column("is_removal", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("trace", sa.Text()),
        sa.Column("previous_sequence", _SEQUENCE),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("event_id"),
        sqlite_autoincrement=True,
    )
    _create_partial_index("events_of_user", "events", ["key"], "kind = 'user'")
    op.create_index(
        "events_received",
        "events",
        ["received_at", "sequence"],
    )
    op.create_table(
        "account_closures",
        sa.Column("user_id", _KEY, nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.PrimaryKeyConstraint("user_id"),
    )
    op.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("beaten_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "lease",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "console_links",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_token", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "purge",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cutoff", sa.BigInteger(), nullable=False),
        sa.Column("purged_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "revocations",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("occurred_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "occurred_at"),
    )
    op.create_index("revocations_applied", "revocations", ["applied_at"])
    op.create_table(
        "replays",
        sa.Column("number", _SEQUENCE, nullable=False),
        sa.Column("replay_id", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.Text()),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("matched_events", sa.BigInteger(), nullable=False),
        sa.Column("entities", sa.BigInteger(), nullable=False),
        sa.Column("marked", sa.BigInteger(), nullable=False),
        sa.Column("superseded", sa.BigInteger(), nullable=False),
        sa.Column("resume_after", sa.Text()),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("replay_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "reconciliations",
        sa.Column("number", _SEQUENCE, nullable=False),
        sa.Column("reconcile_id", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.Text()),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.BigInteger()),
        sa.Column("result", sa.Text()),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("reconcile_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "differences",
        sa.Column("reconciliation", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("difference", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("repair", sa.Text(), nullable=False),
        sa.Column("note", sa.Text()),
        sa.PrimaryKeyConstraint("reconciliation", "position"),
    )
    _create_partial_index("entities_revoked", "entities", ["revoked_at"], "revoked_at IS NOT NULL")
    _create_partial_index(
        "entities_pending",
        "entities",
        ["priority", "due_at", sa.text("kind DESC")],
        "state = 'pending'",
    )
    if op.get_bind().dialect.name == "postgresql":
        # Otherwise ANALYZE copies rows of users into pg_statistic, beyond the reach of an erasure.
        op.execute("ALTER TABLE events ALTER COLUMN data SET STATISTICS 0")
        op.execute("ALTER TABLE entities ALTER COLUMN row SET STATISTICS 0")
        op.get_bind().exec_driver_sql(FUNCTION_FILE.read_text())


def _create_partial_index(name: str, table: str, columns: list[Any], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
