"""The statements that run for every event and every outcome, prepared by the driver.

Plain SQL, in what SQLite >= 3.35 and PostgreSQL >= 14 have in common: building and compiling a
statement in SQLAlchemy Core costs ten times what running it does here, and every event takes two
to four. Everything that is asked less often is written in Core.

While an entity is applied, Supabase holds its row: an equal row then costs no write. From any
other state it must be written, because an attempt may have landed that was never recorded.
"""

INSERT_EVENT = """
INSERT INTO events
    (event_id, type, kind, key, occurred_at, is_removal, received_at, digest, data, previous)
VALUES
    (:event_id, :type, :kind, :key, :occurred_at, :is_removal, :received_at, :digest, :data,
     (SELECT latest_event FROM entities WHERE kind = :kind AND key = :key))
ON CONFLICT (event_id) DO NOTHING
"""

# Of SQLite: the sequences of what is inserted next follow on.
SELECT_LAST_SEQUENCE = """
SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'events'
"""

SELECT_STORED = "SELECT sequence, digest FROM events WHERE event_id = :event_id"

# Moves an entity to a version, unless it stands at that one or a later one. The newer row is due at
# once, whatever became of the older one.
UPSERT_ENTITY = """
INSERT INTO entities AS e
    (kind, key, user_id, occurred_at, is_removal, sequence, row, state, priority,
     revision, pending_since, due_at, attempts, awaits_parent, latest_event)
VALUES
    (:kind, :key, :user_id, :occurred_at, :is_removal, :sequence, :row, 'pending',
     :priority, 1, :received_at, 0, 0, FALSE, :event_sequence)
ON CONFLICT (kind, key) DO UPDATE SET
    user_id = excluded.user_id,
    occurred_at = excluded.occurred_at,
    is_removal = excluded.is_removal,
    sequence = excluded.sequence,
    row = excluded.row,
    state = CASE WHEN e.state = 'applied'
                  AND (e.row = excluded.row OR (e.row IS NULL AND excluded.row IS NULL))
                 THEN 'applied' ELSE 'pending' END,
    applied_occurred_at = CASE WHEN e.state = 'applied'
                  AND (e.row = excluded.row OR (e.row IS NULL AND excluded.row IS NULL))
                 THEN excluded.occurred_at ELSE e.applied_occurred_at END,
    applied_sequence = CASE WHEN e.state = 'applied'
                  AND (e.row = excluded.row OR (e.row IS NULL AND excluded.row IS NULL))
                 THEN excluded.sequence ELSE e.applied_sequence END,
    priority = excluded.priority,
    revision = e.revision + 1,
    pending_since = CASE WHEN e.state = 'pending' THEN e.pending_since
                         ELSE excluded.pending_since END,
    due_at = 0,
    attempts = 0,
    awaits_parent = FALSE,
    waiting_since = NULL,
    last_error_code = NULL,
    last_error = NULL,
    latest_event = excluded.latest_event,
    replay = CASE WHEN e.state = 'applied' THEN NULL ELSE e.replay END
WHERE (excluded.occurred_at, excluded.is_removal, excluded.sequence)
    > (e.occurred_at, e.is_removal, e.sequence)
"""

# The same for an event that came too late to move its entity.
NOTE_LATEST_EVENT = """
UPDATE entities SET latest_event = :event_sequence WHERE kind = :kind AND key = :key
"""

# The latest removal of a membership's trip or user.
SELECT_PARENTS_REMOVAL = """
SELECT removed_at, removal_sequence FROM entities
WHERE removed_at IS NOT NULL
  AND ((kind = 'trip' AND key = :trip_id) OR (kind = 'user' AND key = :user_id))
ORDER BY removed_at DESC, removal_sequence DESC
LIMIT 1
"""

# The same for many at once, in SQLite.
SELECT_REMOVALS = """
SELECT key, removed_at, removal_sequence FROM entities
WHERE kind = :kind AND removed_at IS NOT NULL AND key IN (SELECT value FROM json_each(:keys))
"""

SELECT_OWN_REMOVAL = """
SELECT removed_at, removal_sequence FROM entities
WHERE kind = :kind AND key = :key AND removed_at IS NOT NULL
"""

# A user or trip remembers its latest removal, also one that lost to a newer creation.
REMEMBER_REMOVAL = """
UPDATE entities SET removed_at = :occurred_at, removal_sequence = :sequence
WHERE kind = :kind AND key = :key
  AND (removed_at IS NULL OR (removed_at, removal_sequence) < (:occurred_at, :sequence))
"""

# A membership's key is <trip_id>/<user_id>, and 0 is the character after the slash.
_OF_TRIP = "kind = 'membership' AND key > :key || '/' AND key < :key || '0'"
# Told that the kind is a membership's, SQLite would look at every membership instead.
_OF_USER = "kind <> 'trip' AND user_id = :key"

_CASCADE = """
UPDATE entities SET
    occurred_at = :occurred_at,
    is_removal = TRUE,
    sequence = :sequence,
    row = NULL,
    state = CASE WHEN state = 'applied' AND row IS NULL THEN 'applied' ELSE 'pending' END,
    applied_occurred_at = CASE WHEN state = 'applied' AND row IS NULL
                               THEN :occurred_at ELSE applied_occurred_at END,
    applied_sequence = CASE WHEN state = 'applied' AND row IS NULL
                            THEN :sequence ELSE applied_sequence END,
    priority = 0,
    revision = revision + 1,
    pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE :received_at END,
    due_at = 0,
    attempts = 0,
    awaits_parent = FALSE,
    waiting_since = NULL,
    last_error_code = NULL,
    last_error = NULL,
    replay = CASE WHEN state = 'applied' THEN NULL ELSE replay END
WHERE {of_parent}
  AND (occurred_at, is_removal, sequence) < (:occurred_at, TRUE, :sequence)
"""

# Removes the memberships of a removed trip or user that are not newer than its removal.
CASCADE_FROM_TRIP = _CASCADE.format(of_parent=_OF_TRIP)
CASCADE_FROM_USER = _CASCADE.format(of_parent=_OF_USER)

# What the events of a removed user still say of him, but his id.
ERASE_EVENTS = """
UPDATE events SET data = :data
WHERE kind = :kind AND key = :key AND data <> :data
  AND (occurred_at, is_removal, sequence) <= (:occurred_at, TRUE, :sequence)
"""

_CLAIM_COLUMNS = (
    "kind, key, occurred_at, is_removal, sequence, row, revision, attempts, waiting_since,"
    " pending_since, last_error_code, request_limit"
)

# In the order of the index. `held` leaves out what is not to be tried.
CLAIM = f"""
SELECT {_CLAIM_COLUMNS} FROM entities
WHERE state = 'pending' AND priority = :priority AND due_at <= :now {{held}}
ORDER BY due_at, kind DESC
LIMIT :limit
"""  # noqa: S608 - the columns are the constant above

# One of those that are held, due or not; another each time, as one that fails is due later.
CLAIM_HELD = f"""
SELECT {_CLAIM_COLUMNS} FROM entities
WHERE state = 'pending' AND kind = :kind AND {{is_deleted}} = :is_deleted
ORDER BY due_at
LIMIT 1
"""  # noqa: S608

# Each in a query of its own: SQLite would look at the whole queue for both at once.
SCHEDULE = """
SELECT
    (SELECT MIN(due_at) FROM entities WHERE state = 'pending' AND priority = :priority),
    (SELECT MAX(due_at) FROM entities WHERE state = 'pending' AND priority = :priority)
"""

# What a clock that ran ahead has put off for too long.
MAKE_DUE = """
UPDATE entities SET due_at = 0
WHERE state = 'pending' AND priority = :priority AND due_at > :latest
"""

# At the same revision it is the version that was claimed.
RECORD_APPLIED = """
UPDATE entities SET
    state = 'applied',
    applied_occurred_at = occurred_at,
    applied_sequence = sequence,
    applied_at = :now,
    attempts = 0,
    awaits_parent = FALSE,
    waiting_since = NULL,
    request_limit = NULL,
    last_error_code = NULL,
    last_error = NULL
WHERE kind = :kind AND key = :key AND revision = :revision AND state = 'pending'
"""

RECORD_FAILURE = """
UPDATE entities SET
    state = :state,
    priority = :priority,
    request_limit = :request_limit,
    attempts = :attempts,
    due_at = :due_at,
    awaits_parent = :awaits_parent,
    waiting_since = :waiting_since,
    last_error_code = :code,
    last_error = :message
WHERE kind = :kind AND key = :key AND revision = :revision AND state = 'pending'
"""

# The entities of a request that failed as a whole: tried again in smaller ones, after the others.
POSTPONE = """
UPDATE entities SET due_at = :now, request_limit = :request_limit
WHERE kind = :kind AND key = :key AND revision = :revision AND state = 'pending'
"""

# Values move between rows: those that wait for one are tried together. The attempt that this brings
# forward does not count, or new conflicts of others would use up all that an entity has.
GATHER_UNIQUE_CONFLICTS = """
UPDATE entities SET
    due_at = 0,
    attempts = CASE WHEN attempts > 2 THEN attempts - 1 ELSE attempts END
WHERE state = 'pending' AND priority = :priority AND kind = :kind AND last_error_code = :code
  AND due_at > 0
"""

_WRITE_CHILDREN_AGAIN = """
UPDATE entities SET
    state = 'pending', revision = revision + 1, pending_since = :now, due_at = 0, attempts = 0,
    priority = CASE WHEN is_removal THEN 0 ELSE 1 END, replay = NULL
WHERE {of_parent} AND row IS NOT NULL AND state = 'applied'
"""

# Supabase itself may have cascaded the removal of a trip or a user to what stands again.
WRITE_CHILDREN_OF_TRIP_AGAIN = _WRITE_CHILDREN_AGAIN.format(of_parent=_OF_TRIP)
WRITE_CHILDREN_OF_USER_AGAIN = _WRITE_CHILDREN_AGAIN.format(of_parent=_OF_USER)

# The same where a removal may have landed that was never recorded (a crash, a lost answer) and the
# parent stands again since. To be run before the parent is recorded as applied.
_AFTER_UNRECORDED_REMOVAL = """
  EXISTS (
    SELECT 1 FROM entities AS parent
    WHERE parent.kind = :kind AND parent.key = :key AND parent.removed_at IS NOT NULL
      AND (parent.applied_occurred_at IS NULL
           OR (parent.applied_occurred_at, parent.applied_sequence)
            < (parent.removed_at, parent.removal_sequence)))
"""
WRITE_CHILDREN_OF_RETURNED_TRIP_AGAIN = (
    f"{WRITE_CHILDREN_OF_TRIP_AGAIN} AND {_AFTER_UNRECORDED_REMOVAL}"
)
WRITE_CHILDREN_OF_RETURNED_USER_AGAIN = (
    f"{WRITE_CHILDREN_OF_USER_AGAIN} AND {_AFTER_UNRECORDED_REMOVAL}"
)

# Supabase misses a parent that we believe it holds: somebody else removed it there. It is written
# again when the child is tried again, and not sooner, in case it is not what is missing.
WRITE_PARENT_AGAIN = """
UPDATE entities SET
    state = 'pending', revision = revision + 1, pending_since = :now, due_at = :due_at,
    attempts = 0, priority = 1, replay = NULL
WHERE kind = :kind AND key = :key AND state = 'applied' AND row IS NOT NULL
"""

_RELEASE_CHILDREN = """
UPDATE entities SET
    due_at = 0,
    pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE :now END,
    state = 'pending'
WHERE {of_parent} AND state <> 'applied' AND awaits_parent
"""

# What waits for a parent is due at once when the parent is applied, also after it has given up.
RELEASE_CHILDREN_OF_TRIP = _RELEASE_CHILDREN.format(of_parent=_OF_TRIP)
# A trip may wait for its creator.
RELEASE_CHILDREN_OF_USER = _RELEASE_CHILDREN.format(of_parent="user_id = :key")

BEAT = """
INSERT INTO heartbeat (id, beaten_at) VALUES (1, :now)
ON CONFLICT (id) DO UPDATE SET beaten_at = excluded.beaten_at
"""
