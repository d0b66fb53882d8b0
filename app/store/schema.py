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
    TextClause,
    text,
)

metadata = MetaData()

_Sequence = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte, as in Python and SQLite. By the rules of a language, a database may ignore
# the slash in a membership's key and miss the memberships of a removed trip.
_Key = Text().with_variant(Text(collation="C"), "postgresql")


def _partial_index(name: str, *columns: str | TextClause, where: str) -> Index:
    condition = text(where)
    return Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


events = Table(
    "events",
    metadata,
    Column("sequence", _Sequence, primary_key=True, comment="order of receipt"),
    Column("event_id", Text, nullable=False, unique=True, comment="the webhook-id"),
    Column("type", Text, nullable=False),
    Column("kind", _Key, nullable=False),
    Column("key", _Key, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("is_removal", Boolean, nullable=False, comment="a removal"),
    Column("received_at", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256 of the body"),
    Column("data", Text, nullable=False, comment="permission data only, canonical JSON"),
    Column("trace", Text, comment="ids of the request that brought it: `domain.traces`"),
    # Replaces an index on (kind, key), which would cost every event two more pages and made
    # receiving a third slower.
    Column("previous_sequence", _Sequence, comment="the previous event of the same entity"),
    Index("events_received", "received_at", "sequence"),
    # For erasure. An index of all events would cost every event two more pages.
    _partial_index("events_of_user", "key", where="kind = 'user'"),
    # A sequence must never be used twice, even after a purge: versions and statuses compare it.
    sqlite_autoincrement=True,
)

entities = Table(
    "entities",
    metadata,
    Column("kind", _Key, primary_key=True),
    Column("key", _Key, primary_key=True),
    Column("user_id", Text, comment="the user of a membership; the creator of a trip"),
    # The version of the desired row.
    Column("occurred_at", BigInteger, nullable=False),
    Column("is_removal", Boolean, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("row", Text, comment="the desired state; null: a tombstone"),
    # The latest removal of a user or trip, even one that lost to a newer creation.
    Column("removed_at", BigInteger),
    Column("removal_sequence", BigInteger),
    Column("state", Text, nullable=False, comment="pending, applied, dead"),
    Column("priority", SmallInteger, nullable=False, comment="the queue"),
    Column("revision", BigInteger, nullable=False, comment="rises with each requeue"),
    Column("pending_since", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False, comment="0: at once, on any clock"),
    Column(
        "attempts", Integer, nullable=False, comment="consecutive failures with last_error_code"
    ),
    Column("awaits_parent", Boolean, nullable=False),
    Column("waiting_since", BigInteger, comment="when it first failed with last_error_code"),
    Column("request_limit", SmallInteger, comment="most entities of its next request"),
    Column("last_error_code", Text),
    Column("last_error", Text, comment="without values of the row"),
    Column("applied_occurred_at", BigInteger),
    Column("applied_sequence", BigInteger),
    Column("applied_at", BigInteger),
    # Of a membership: the first of the revocations since it last gave access, until one of them is
    # applied.
    Column("revoked_at", BigInteger, comment="when the unapplied revocation happened; else null"),
    Column("revocation_received_at", BigInteger),
    Column("latest_event", BigInteger, comment="the latest received event, even if it lost"),
    Column("replay", BigInteger, comment="the latest replay that requeued it"),
    # In the order in which the dispatcher claims, with users and trips before the memberships that
    # refer to them. No larger than the backlog.
    _partial_index(
        "entities_pending", "priority", "due_at", text("kind DESC"), where="state = 'pending'"
    ),
    _partial_index("entities_dead", "kind", "key", where="state = 'dead'"),
    # To find those of a rare error among many.
    _partial_index("entities_dead_of", "last_error_code", "last_error", where="state = 'dead'"),
    # No larger than the unsettled entities of replays.
    _partial_index(
        "entities_replayed", "replay", "state", where="replay IS NOT NULL AND state <> 'applied'"
    ),
    Index("entities_of_user", "user_id"),
    # No larger than the backlog.
    _partial_index("entities_revoked", "revoked_at", where="revoked_at IS NOT NULL"),
)

revocations = Table(
    "revocations",
    metadata,
    Column("key", _Key, primary_key=True, comment="of the membership"),
    Column("occurred_at", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", BigInteger, nullable=False),
    Column("applied_at", BigInteger, nullable=False, comment="when Supabase first held it"),
    Index("revocations_applied", "applied_at"),
)

account_closures = Table(
    "account_closures",
    metadata,
    Column("user_id", _Key, primary_key=True),
    Column("requested_at", BigInteger, nullable=False, comment="when Supabase held the removal"),
    Column("due_at", BigInteger, nullable=False, comment="0: at once, on any clock"),
    Column("attempts", Integer, nullable=False),
    Column("code", Text, comment="of the last failure"),
    Column("message", Text, comment="without personal data"),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("beaten_at", BigInteger, nullable=False, comment="when a commit last proved to succeed"),
)

purge = Table(
    "purge",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("cutoff", BigInteger, nullable=False, comment="events received earlier may be gone"),
    Column("purged_at", BigInteger, nullable=False, comment="when the latest purge began"),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False, comment="rises with each holder"),
    Column("expires_at", BigInteger, nullable=False, comment="by the database's clock"),
    Column("report", Text, comment="status of the holder, JSON"),
)

console_links = Table(
    "console_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True, comment="SHA-256 of the code in the link"),
    Column("sealed_token", LargeBinary, nullable=False, comment="only the code can decrypt it"),
    Column("expires_at", BigInteger, nullable=False),
)

replays = Table(
    "replays",
    metadata,
    Column("number", _Sequence, primary_key=True),
    Column("replay_id", Text, nullable=False, unique=True),
    Column("requested_at", BigInteger, nullable=False),
    Column("requested_by", Text, comment="the subject of the token"),
    Column("filter", Text, nullable=False, comment="the criteria, JSON"),
    Column("status", Text, nullable=False, comment="running, completed, failed"),
    Column("matched_events", BigInteger, nullable=False),
    Column("entities", BigInteger, nullable=False, comment="to be requeued"),
    Column("marked", BigInteger, nullable=False, comment="requeued so far"),
    Column(
        "superseded",
        BigInteger,
        nullable=False,
        comment="requeued entities that a later replay took over",
    ),
    Column("resume_after", Text, comment="the last requeued entity, JSON"),
    sqlite_autoincrement=True,
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("number", _Sequence, primary_key=True),
    Column("reconcile_id", Text, nullable=False, unique=True),
    Column("requested_at", BigInteger, nullable=False),
    Column("requested_by", Text, comment="the subject of the token; null: scheduled"),
    Column("request", Text, nullable=False, comment="JSON"),
    Column("status", Text, nullable=False, comment="running, completed, failed"),
    Column("finished_at", BigInteger),
    Column("result", Text, comment="JSON"),
    sqlite_autoincrement=True,
)

differences = Table(
    "differences",
    metadata,
    Column("reconciliation", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, primary_key=True, comment="leaks first"),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("difference", Text, nullable=False, comment="extra, missing, different"),
    Column("effect", Text, nullable=False, comment="leaks, denies, other"),
    Column("origin", Text, nullable=False),
    Column("columns", Text, nullable=False, comment="names, JSON"),
    Column("repair", Text, nullable=False, comment="write, delete, none"),
    Column("note", Text),
)

# Conditions on the memberships of a removed or applied parent, whose key is `:key`. A membership's
# key is <trip_id>/<user_id>, and 0 is the character after the slash.
OF_TRIP = "kind = 'membership' AND key > :key || '/' AND key < :key || '0'"
# With kind = 'membership', SQLite would scan every membership instead of using the index.
OF_USER = "kind <> 'trip' AND user_id = :key"
