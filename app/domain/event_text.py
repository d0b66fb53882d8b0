"""The sentence on an event's status that `relay events` and the console share."""

from app.domain.entities import EntityState, EventStatus

_MISSING_REFERENCE = "23503"


def explain_event(
    status: str, kind: str, entity_state: EntityState | str, error_code: str | None
) -> str:
    """Explain an event's status, and name the next step if there is one.

    Args:
        status: of the event; a newer relay may have others than `EventStatus`.
        kind: of its entity.
        entity_state: of its entity.
        error_code: of the last error of its entity; None without an error.
    """
    match status:
        case EventStatus.APPLIED:
            return "Supabase holds this change."
        case EventStatus.SUPERSEDED:
            return (
                f"A later event of the same {kind}, or of its trip or user, replaced this one; the"
                f" {kind} is {entity_state}."
            )
        case EventStatus.DEAD:
            return (
                "The relay no longer retries this change, as Supabase rejected it. Fix the cause,"
                " then replay it."
            )
        case EventStatus.PENDING if error_code == _MISSING_REFERENCE:
            return (
                "The trip or user of this change is not in Supabase yet. The relay applies the"
                " change once it is, and gives up after 24 hours."
            )
        case EventStatus.PENDING if error_code:
            return "Supabase rejected the change so far. The relay retries it."
        case EventStatus.PENDING:
            return "The change is stored and waits for its turn. If that takes long, see /health."
        case _:
            return f"The event is {status}."
