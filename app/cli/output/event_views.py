"""How events look at a terminal and in a pipe."""

from datetime import UTC, datetime

from rich.text import Text

from app.cli.client.api_models import EventAnswer
from app.cli.output.console import (
    STATUS_STYLES,
    Listed,
    output,
    print_fields,
    sanitize,
    write_instant,
    write_time,
)
from app.domain import event_text
from app.domain.entities import EventStatus
from app.domain.wording import count, write_duration


def list_event(event: EventAnswer) -> Listed:
    """Make the entry of a list: a line that sorts it, and what other commands accept."""
    path = event.entity.path
    return Listed(
        Text.assemble(
            f"{write_time(event.received_at)}  ",
            (f"{event.status:<10}  ", STATUS_STYLES.get(event.status, "")),
            (event.type, "bold"),
        ),
        {"event": event.event_id, "entity": path, "error": event.error},
        [
            write_instant(event.received_at),
            event.status,
            event.type,
            path,
            event.event_id,
            event.error,
        ],
    )


def show_event(event: EventAnswer) -> None:
    """Print everything about one event, first in a sentence."""
    entity = event.entity
    output.print(
        Text.assemble(
            (event.status, STATUS_STYLES.get(event.status, "")),
            "  ",
            (event.type, "bold"),
            "  ",
            sanitize(event.event_id),
        )
    )
    output.print(explain_event(event), markup=False, soft_wrap=False)
    delay_seconds = (event.received_at - event.timestamp).total_seconds()
    # Two clocks differ by less than a second: a shorter delay says nothing.
    delay = f", {write_duration(delay_seconds)} later" if delay_seconds >= 1 else ""
    row = "no row" if entity.is_removed else "its row"
    print_fields(
        {
            "happened": _write_exact(event.timestamp),
            "received": f"{_write_exact(event.received_at)}{delay}",
            "request": event.request_id or "",
            "trace": event.trace_id or "",
            "entity": entity.path,
            "entity state": f"{entity.state}; Supabase should hold {row}",
            "desired since": _write_exact(entity.desired_version_at),
            "applied": _write_exact(entity.applied_at),
            "pending since": _write_exact(entity.pending_since),
            "rejected": count(entity.attempts, "time") if entity.attempts else "",
            "last error": entity.error,
            "next attempt": _write_exact(entity.next_attempt_at),
        }
    )


def explain_event(event: EventAnswer) -> str:
    """Explain an event's status, and give the command of the next step if there is one."""
    entity = event.entity
    code = entity.last_error_code or entity.last_error
    sentence = event_text.explain_event(
        sanitize(event.status), sanitize(entity.kind), sanitize(entity.state), code
    )
    if event.status == EventStatus.DEAD:
        return f"{sentence.removesuffix(' replay it.')}: relay replay {event.event_id}"
    return sentence


def _write_exact(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"
