"""What the log says of entities. It names the entity and the event, and no row values."""

import logging
from collections.abc import Sequence
from typing import Final

from app.domain.entities import EntityState, PendingEntity
from app.domain.instants import Instant, seconds_between
from app.domain.log_fields import log_fields
from app.domain.retry import RetryDecision

logger = logging.getLogger(__name__)

_SECONDS_DIGITS: Final = 3


def log_failure(entity: PendingEntity, code: str, message: str, decision: RetryDecision) -> None:
    """Log that an entity failed by itself; a dead one needs a person."""
    is_dead = decision.state is EntityState.DEAD
    logger.log(
        logging.ERROR if is_dead else logging.INFO,
        "%s %s %s: %s %s",
        entity.ref.kind,
        entity.ref.key,
        "is dead" if is_dead else "failed; retrying",
        code,
        message,
        extra=log_fields(
            event_id=entity.event_id, entity=_path(entity), code=code, attempts=decision.attempts
        ),
    )


def log_applied(entities: Sequence[PendingEntity], now: Instant) -> None:
    """Log which revocations and which retried entities Supabase holds.

    One line for the memberships that one event revokes: there may be thousands.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    revoked: dict[str | None, list[PendingEntity]] = {}
    for entity in entities:
        if entity.revoked_at is not None:
            revoked.setdefault(entity.event_id, []).append(entity)
        elif entity.attempts:
            logger.info(
                "%s %s is applied after it failed",
                entity.ref.kind,
                entity.ref.key,
                extra=log_fields(
                    event_id=entity.event_id, entity=_path(entity), attempts=entity.attempts
                ),
            )
    for event_id, memberships in revoked.items():
        _log_revocation(event_id, memberships, now)


def _log_revocation(
    event_id: str | None, memberships: Sequence[PendingEntity], now: Instant
) -> None:
    first = memberships[0]
    others = len(memberships) - 1
    received_at = first.revocation_received_at
    seconds = None if received_at is None else max(0.0, seconds_between(received_at, now))
    logger.info(
        "membership %s%s revoked in Supabase",
        first.ref.key,
        f" and {others} more" if others else "",
        extra=log_fields(
            event_id=event_id,
            entity=_path(first),
            memberships=len(memberships),
            relay_seconds=None if seconds is None else round(seconds, _SECONDS_DIGITS),
        ),
    )


def _path(entity: PendingEntity) -> str:
    return f"{entity.ref.kind}/{entity.ref.key}"
