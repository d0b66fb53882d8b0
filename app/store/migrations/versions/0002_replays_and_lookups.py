"""Replays that go on after a restart, and finding the events of an entity."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Link each event to the one before it, and give replays a place to go on from."""
    op.add_column("events", sa.Column("previous", _SEQUENCE, nullable=True))
    op.create_index("events_received", "events", ["received_at", "sequence"], unique=False)
    op.add_column("entities", sa.Column("latest_event", sa.BigInteger(), nullable=True))
    op.add_column("entities", sa.Column("replay", sa.BigInteger(), nullable=True))
    op.create_index(
        "entities_replayed",
        "entities",
        ["replay", "state"],
        unique=False,
        sqlite_where=sa.text("replay IS NOT NULL AND state <> 'applied'"),
        postgresql_where=sa.text("replay IS NOT NULL AND state <> 'applied'"),
    )
    _link_events()
    _recreate_replays()


def _link_events() -> None:
    op.execute(
        """
        UPDATE events SET previous = linked.previous
        FROM (
            SELECT sequence,
                   LAG(sequence) OVER (PARTITION BY kind, key ORDER BY sequence) AS previous
            FROM events
        ) AS linked
        WHERE events.sequence = linked.sequence AND linked.previous IS NOT NULL
        """
    )
    op.execute(
        """
        UPDATE entities SET latest_event = newest.sequence
        FROM (SELECT kind, key, MAX(sequence) AS sequence FROM events GROUP BY kind, key) AS newest
        WHERE entities.kind = newest.kind AND entities.key = newest.key
        """
    )


def _recreate_replays() -> None:
    op.rename_table("replays", "replays_before")
    op.create_table(
        "replays",
        sa.Column("number", _SEQUENCE, nullable=False),
        sa.Column("replay_id", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("matched_events", sa.BigInteger(), nullable=False),
        sa.Column("entities", sa.BigInteger(), nullable=False),
        sa.Column("marked", sa.BigInteger(), nullable=False),
        sa.Column("superseded", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("replay_id"),
        sqlite_autoincrement=True,
    )
    # One that was under way when its relay ended could not go on: it has to be asked for again.
    op.execute(
        """
        INSERT INTO replays
            (replay_id, requested_at, requested_by, filter, status, matched_events, entities,
             marked, superseded)
        SELECT replay_id, requested_at, requested_by, filter,
               CASE status WHEN 'running' THEN 'failed' ELSE status END,
               matched_events, entities, entities, 0
        FROM replays_before ORDER BY requested_at
        """
    )
    op.drop_table("replays_before")
