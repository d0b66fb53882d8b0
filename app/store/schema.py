"""The tables. Instants are whole microseconds since 1970-01-01T00:00:00Z (`domain.instants`)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

metadata = MetaData()

_Sequence = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte, as Python and SQLite do. By the rules of a language a database may skip
# the slash in a membership's key, and would not find the memberships of a removed trip.
_Key = Text().with_variant(Text(collation="C"), "postgresql")

events = Table(
    "events",
    metadata,
    Column("sequence", _Sequence, primary_key=True, comment="order of receipt"),
    Column("event_id", Text, nullable=False, unique=True, comment="the webhook-id"),
    Column("type", Text, nullable=False),
    Column("kind", _Key, nullable=False),
    Column("key", _Key, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("is_removal", Boolean, nullable=False, comment="takes access away"),
    Column("received_at", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the body"),
    Column("data", Text, nullable=False, comment="permission data only, canonical JSON"),
    # What an index on (kind, key) would find, for nothing: that one costs every event two pages
    # more, and made receiving a third slower.
    Column("previous", _Sequence, comment="the event of the same entity before it"),
    Index("events_received", "received_at", "sequence"),
    # For erasure; one on all events would cost every event two pages more.
    Index(
        "events_of_user",
        "key",
        sqlite_where=text("kind = 'user'"),
        postgresql_where=text("kind = 'user'"),
    ),
    # A purge must never let a sequence be given twice: versions and statuses compare it.
    sqlite_autoincrement=True,
)

entities = Table(
    "entities",
    metadata,
    Column("kind", _Key, primary_key=True),
    Column("key", _Key, primary_key=True),
    # A trip's memberships are neighbours by key; a user's are not.
    Column("user_id", Text, comment="of a membership; the creator of a trip"),
    # The version of the desired row.
    Column("occurred_at", BigInteger, nullable=False),
    Column("is_removal", Boolean, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("row", Text, comment="what Supabase should hold; null: nothing (a tombstone)"),
    # The latest removal of a user or a trip, also one that lost to a newer creation.
    Column("removed_at", BigInteger),
    Column("removal_sequence", BigInteger),
    Column("state", Text, nullable=False, comment="pending, applied, dead"),
    Column("priority", SmallInteger, nullable=False, comment="the queue that it waits in"),
    Column("revision", BigInteger, nullable=False, comment="rises with each change to write"),
    Column("pending_since", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False, comment="0: at once, whatever the clock says"),
    Column("attempts", Integer, nullable=False, comment="failures with last_error_code in a row"),
    Column("awaits_parent", Boolean, nullable=False),
    Column("waiting_since", BigInteger, comment="since when it has failed with last_error_code"),
    Column("request_limit", SmallInteger, comment="most entities of a request that it is part of"),
    Column("last_error_code", Text),
    Column("last_error", Text, comment="never with a row's values"),
    Column("applied_occurred_at", BigInteger),
    Column("applied_sequence", BigInteger),
    Column("applied_at", BigInteger),
    Column("latest_event", BigInteger, comment="received last, also if it lost"),
    Column("replay", BigInteger, comment="the last one that had it written again"),
    # In the order in which the dispatcher claims, and no larger than the backlog: users and trips
    # before the memberships that refer to them.
    Index(
        "entities_pending",
        "priority",
        "due_at",
        text("kind DESC"),
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
    Index(
        "entities_dead",
        "kind",
        "key",
        sqlite_where=text("state = 'dead'"),
        postgresql_where=text("state = 'dead'"),
    ),
    # No larger than what replays have left to do.
    Index(
        "entities_replayed",
        "replay",
        "state",
        sqlite_where=text("replay IS NOT NULL AND state <> 'applied'"),
        postgresql_where=text("replay IS NOT NULL AND state <> 'applied'"),
    ),
    Index("entities_of_user", "user_id"),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("beaten_at", BigInteger, nullable=False, comment="last proof that commits succeed"),
)

purge = Table(
    "purge",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cutoff", BigInteger, nullable=False, comment="events received before it may be gone"),
    Column("purged_at", BigInteger, nullable=False, comment="when the last purge began"),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False, comment="rises with each holder"),
    Column("expires_at", BigInteger, nullable=False, comment="by the database's clock"),
    Column("report", Text, comment="what the holder says of itself, JSON"),
)

replays = Table(
    "replays",
    metadata,
    Column("number", _Sequence, primary_key=True),
    Column("replay_id", Text, nullable=False, unique=True),
    Column("requested_at", BigInteger, nullable=False),
    Column("requested_by", Text, comment="the subject of the token"),
    Column("filter", Text, nullable=False, comment="as it was asked for, JSON"),
    Column("status", Text, nullable=False, comment="running, completed, failed"),
    Column("matched_events", BigInteger, nullable=False),
    Column("entities", BigInteger, nullable=False, comment="to be marked"),
    Column("marked", BigInteger, nullable=False),
    Column("superseded", BigInteger, nullable=False, comment="of the marked, by a later replay"),
    Column("place", Text, comment="where to go on, JSON"),
    sqlite_autoincrement=True,
)
