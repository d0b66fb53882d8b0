"""Recording the outcomes of a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, text

from app.domain.entities import EntityRef, EntityState, Kind, PendingEntity, Priority
from app.domain.instants import Instant
from app.domain.retry import RetryDecision
from app.store.closure_queries import REQUEST_CLOSURES
from app.store.dispatch_queries import Batch, Wanted, claim
from app.store.lease import require_lease
from app.store.notifications import SETTLED, notify
from app.store.revocation_queries import Step, record_revocations
from app.store.schema import OF_TRIP, OF_USER

_UNIQUE_CONFLICT: Final = "23505"
# A trigger may raise a message of any length, and PostgreSQL indexes at most 2,700 bytes.
MESSAGE_CHARACTERS: Final = 500
# SQLAlchemy parses the parameters of a text each time.
_prepare = cache(text)

# At the same revision the version is the one that was claimed.
_RECORD_APPLIED: Final = """
UPDATE entities SET
    state = 'applied',
    applied_occurred_at = occurred_at,
    applied_sequence = sequence,
    applied_at = :applied_at,
    attempts = 0,
    awaits_parent = FALSE,
    waiting_since = NULL,
    request_limit = NULL,
    last_error_code = NULL,
    last_error = NULL
WHERE kind = :kind AND key = :key AND revision = :revision AND state = 'pending'
"""

_RECORD_FAILURE: Final = """
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

# Entities of a request that failed as a whole are retried in smaller ones, after the others.
_POSTPONE: Final = """
UPDATE entities SET due_at = :now, request_limit = :request_limit
WHERE kind = :kind AND key = :key AND revision = :revision AND state = 'pending'
"""

# Values move between rows, so entities with a unique conflict are retried together. The attempt
# that this brings forward does not count: conflicts of others would use up an entity's attempts.
_GATHER_UNIQUE_CONFLICTS: Final = """
UPDATE entities SET
    due_at = 0,
    attempts = CASE WHEN attempts > 2 THEN attempts - 1 ELSE attempts END
WHERE state = 'pending' AND priority = :priority AND kind = :kind AND last_error_code = :code
  AND due_at > 0
"""

_REQUEUE_CHILDREN: Final = """
UPDATE entities SET
    state = 'pending', revision = revision + 1, pending_since = :now, due_at = 0, attempts = 0,
    priority = CASE WHEN is_removal THEN 0 ELSE 1 END, replay = NULL
WHERE {of_parent} AND row IS NOT NULL AND state = 'applied'
"""

# For a removed parent: Supabase itself may have cascaded the removal to newer children.
_REQUEUE_CHILDREN_OF_TRIP: Final = _REQUEUE_CHILDREN.format(of_parent=OF_TRIP)
REQUEUE_CHILDREN_OF_USER: Final = _REQUEUE_CHILDREN.format(of_parent=OF_USER)

# For a parent that exists again: its removal may have reached Supabase without being recorded (a
# crash, a lost response). Run this before the parent is recorded as applied.
_AFTER_UNRECORDED_REMOVAL: Final = """
  AND EXISTS (
    SELECT 1 FROM entities AS parent
    WHERE parent.kind = :kind AND parent.key = :key AND parent.removed_at IS NOT NULL
      AND (parent.applied_occurred_at IS NULL
           OR (parent.applied_occurred_at, parent.applied_sequence)
            < (parent.removed_at, parent.removal_sequence)))
"""
_REQUEUE_CHILDREN_OF_RECREATED_TRIP: Final = _REQUEUE_CHILDREN_OF_TRIP + _AFTER_UNRECORDED_REMOVAL
REQUEUE_CHILDREN_OF_RECREATED_USER: Final = REQUEUE_CHILDREN_OF_USER + _AFTER_UNRECORDED_REMOVAL

# Another client removed a parent in Supabase. It is written again when the child is retried, not
# sooner: perhaps another row is missing.
_REQUEUE_PARENT: Final = """
UPDATE entities SET
    state = 'pending', revision = revision + 1, pending_since = :now, due_at = :due_at,
    attempts = 0, priority = 1, replay = NULL
WHERE kind = :kind AND key = :key AND state = 'applied' AND row IS NOT NULL
"""

# For an applied parent: the entities that await it are due at once, even dead ones.
_RELEASE_CHILDREN: Final = """
UPDATE entities SET
    due_at = 0,
    pending_since = CASE WHEN state = 'pending' THEN pending_since ELSE :now END,
    state = 'pending'
WHERE {of_parent} AND state <> 'applied' AND awaits_parent
"""
_RELEASE_CHILDREN_OF_TRIP: Final = _RELEASE_CHILDREN.format(of_parent=OF_TRIP)
# A trip may await its creator.
RELEASE_CHILDREN_OF_USER: Final = _RELEASE_CHILDREN.format(of_parent="user_id = :key")


@dataclass(frozen=True, slots=True)
class Applied:
    """Supabase holds the entity's row as it was claimed.

    Attributes:
        applied_at: when Supabase responded; None if the outcome is recorded at once.
    """

    entity: PendingEntity
    applied_at: Instant | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The entity itself failed.

    Attributes:
        code: SQLSTATE or similar.
        message: one sentence without values.
        missing_parent: the reference that Supabase lacks, if known.
    """

    entity: PendingEntity
    code: str
    message: str
    decision: RetryDecision
    missing_parent: EntityRef | None = None


@dataclass(frozen=True, slots=True)
class Postponed:
    """The entity was part of a request that failed as a whole; its next one is smaller."""

    entity: PendingEntity
    request_limit: int


Outcome = Applied | Failed | Postponed


def record_and_claim(
    connection: Connection,
    now: Instant,
    outcomes: Sequence[Outcome],
    wanted: Wanted | None,
    *,
    token: int | None = None,
    closes_accounts: bool = False,
) -> Batch | None:
    """Record outcomes and claim the next batch, in one transaction; None if nothing is due.

    An outcome counts only for the revision that was claimed: entities that have changed since stay
    pending. Recording an outcome twice is harmless.

    Args:
        outcomes: of any number of batches.
        wanted: the batch to claim; None claims nothing.
        token: of the lease; None for a store of one relay.
        closes_accounts: whether the Auth accounts of removed users are to be closed.

    Raises:
        LeaseLost: the lease is not held under this token; nothing is recorded.
    """
    if token is not None:
        require_lease(connection, token)
    if outcomes:
        _record(connection, outcomes, now, closes_accounts=closes_accounts)
        notify(connection, SETTLED)
    return None if wanted is None else claim(connection, now, wanted)


def _record(
    connection: Connection, outcomes: Sequence[Outcome], now: Instant, *, closes_accounts: bool
) -> None:
    applications = [
        (outcome.entity, now if outcome.applied_at is None else outcome.applied_at)
        for outcome in outcomes
        if isinstance(outcome, Applied)
    ]
    applied = [entity for entity, _ in applications]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    written = {kind: _keys_of(applied, kind, now, is_written=True) for kind in Kind}
    deleted = {kind: _keys_of(applied, kind, now, is_written=False) for kind in Kind}
    steps: list[Step] = [
        (_REQUEUE_CHILDREN_OF_RECREATED_TRIP, written[Kind.TRIP]),
        (REQUEUE_CHILDREN_OF_RECREATED_USER, written[Kind.USER]),
        (
            _RECORD_APPLIED,
            [_identify(each) | {"applied_at": at} for each, at in applications],
        ),
        *record_revocations(applications),
        (REQUEST_CLOSURES, deleted[Kind.USER] if closes_accounts else []),
        (_RECORD_FAILURE, [_describe(each) for each in failed]),
        (
            _POSTPONE,
            [
                _identify(each.entity) | {"now": now, "request_limit": each.request_limit}
                for each in outcomes
                if isinstance(each, Postponed)
            ],
        ),
        (_REQUEUE_PARENT, list(_list_missing_parents(failed, now))),
        (_GATHER_UNIQUE_CONFLICTS, _list_new_conflicts(failed)),
        # Last: the children of a deleted parent may have been applied earlier in the same batch.
        (_REQUEUE_CHILDREN_OF_TRIP, deleted[Kind.TRIP]),
        (_RELEASE_CHILDREN_OF_TRIP, written[Kind.TRIP]),
        (REQUEUE_CHILDREN_OF_USER, deleted[Kind.USER]),
        (RELEASE_CHILDREN_OF_USER, written[Kind.USER]),
    ]
    for statement, values in steps:
        if values:
            connection.execute(_prepare(statement), values)


def _list_new_conflicts(failed: Sequence[Failed]) -> list[dict[str, Any]]:
    """List the kinds with a new unique conflict, whose counterparts may be waiting."""
    kinds = {
        each.entity.ref.kind.value
        for each in failed
        if each.code == _UNIQUE_CONFLICT and each.entity.attempts <= 1
    }
    common = {"priority": int(Priority.RETRIED_WRITE), "code": _UNIQUE_CONFLICT}
    return [common | {"kind": kind} for kind in sorted(kinds)]


def _identify(entity: PendingEntity) -> dict[str, Any]:
    return {"kind": entity.ref.kind.value, "key": entity.ref.key, "revision": entity.revision}


def _keys_of(
    entities: Sequence[PendingEntity], kind: Kind, now: Instant, *, is_written: bool
) -> list[dict[str, Any]]:
    return [
        {"kind": kind.value, "key": entity.ref.key, "now": now}
        for entity in entities
        if entity.ref.kind is kind and (entity.row is not None) is is_written
    ]


def _describe(failed: Failed) -> dict[str, Any]:
    decision = failed.decision
    return _identify(failed.entity) | {
        "state": decision.state.value,
        "priority": int(decision.priority),
        "request_limit": decision.request_limit,
        "attempts": decision.attempts,
        "due_at": decision.due_at,
        "awaits_parent": decision.awaits_parent,
        "waiting_since": decision.waiting_since,
        "code": failed.code,
        "message": failed.message[:MESSAGE_CHARACTERS],
    }


def _list_missing_parents(failed: Sequence[Failed], now: Instant) -> Iterator[dict[str, Any]]:
    for each in failed:
        parent = each.missing_parent
        if parent is not None and each.decision.state is EntityState.PENDING:
            due_at = each.decision.due_at
            yield {"kind": parent.kind.value, "key": parent.key, "now": now, "due_at": due_at}
