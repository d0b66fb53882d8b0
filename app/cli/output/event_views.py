"""How events look at a terminal and in a pipe."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from app.cli.client.api_models import EntityAnswer, EventAnswer
from app.cli.output.console import (
    STATUS_STYLES,
    count,
    errors,
    output,
    tidy,
    write_duration,
    write_time,
)

# received, status, type, entity: together 75 columns.
_COLUMNS: Final = (19, 10, 18, 19)
_GAP: Final = "  "
_INDENT: Final = 21
_ID_COLUMNS: Final = 36  # what `relay send` makes, and a UUID
_PARENT_MISSING: Final = "23503"
_WIDE: Final = sum(_COLUMNS) + 4 * len(_GAP) + _ID_COLUMNS


class EventList:
    """A list that is printed as it comes: each event on a line, on two where the line is short."""

    def __init__(self) -> None:
        self._is_wide = output.width >= _WIDE

    def show(self, events: Iterable[EventAnswer]) -> None:
        """Print events in the order given."""
        shown = 0
        for event in events:
            if not shown:
                self._show_line(
                    *(Text(word, style="dim") for word in ("received, UTC", "status", "type")),
                    entity=Text("entity", style="dim"),
                    event_id=Text("event", style="dim"),
                    is_head=True,
                )
            shown += 1
            self._show_event(event)
        if not shown:
            errors.print("No event meets that.", style="dim")

    def _show_event(self, event: EventAnswer) -> None:
        self._show_line(
            Text(write_time(event.received_at)),
            Text(event.status, style=STATUS_STYLES.get(event.status, "")),
            Text(event.type),
            entity=Text(_shorten(event.entity)),
            event_id=Text(event.event_id, style="" if self._is_wide else "dim"),
        )
        if event.error:
            error = Text(tidy(event.error), style="red")
            output.print(Padding(error, (0, 0, 0, _INDENT)), soft_wrap=False)

    def _show_line(self, *cells: Text, entity: Text, event_id: Text, is_head: bool = False) -> None:
        line = Text()
        for cell, columns in zip((*cells, entity), _COLUMNS, strict=True):
            cell.pad_right(max(columns - cell.cell_len, 0))
            line.append_text(cell).append(_GAP)
        if self._is_wide:
            output.print(line.append_text(event_id))
            return
        line.rstrip()
        output.print(line)
        if not is_head:
            output.print(Text(" " * _INDENT).append_text(event_id))


def write_plain_line(event: EventAnswer) -> str:
    """Write an event in full for another program: columns with tabs between."""
    return "\t".join(
        tidy(cell)
        for cell in (
            event.received_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            event.status,
            event.type,
            f"{event.entity.kind}/{event.entity.key}",
            event.event_id,
            event.error,
        )
    )


def show_event(event: EventAnswer) -> None:
    """Print what happened to one event: first in a sentence, then all there is."""
    entity = event.entity
    output.print(
        Text.assemble(
            (event.status, STATUS_STYLES.get(event.status, "")),
            _GAP,
            (event.type, "bold"),
            _GAP,
            tidy(event.event_id),
        )
    )
    output.print(Text(_explain(event)), soft_wrap=False)
    output.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    received_after = (event.received_at - event.timestamp).total_seconds()
    table.add_row("happened", _write_exact(event.timestamp))
    table.add_row("received", f"{_write_exact(event.received_at)}{_write_lag(received_after)}")
    table.add_row("entity", f"{entity.kind}/{tidy(entity.key)}")
    table.add_row("", f"{entity.state}; {_describe_desired(entity)}")
    table.add_row("desired since", _write_exact(entity.desired_version_at))
    if entity.applied_at is not None:
        table.add_row("in Supabase", _write_exact(entity.applied_at))
    if entity.pending_since is not None:
        table.add_row("pending since", _write_exact(entity.pending_since))
    if entity.attempts:
        table.add_row("refused", count(entity.attempts, "time"))
    if entity.error:
        table.add_row("last error", Text(tidy(entity.error), style="red"))
    if entity.next_attempt_at is not None:
        table.add_row("next attempt", _write_exact(entity.next_attempt_at))
    output.print(table, soft_wrap=False)


def _explain(event: EventAnswer) -> str:
    entity = event.entity
    match event.status:
        case "applied":
            return "Supabase holds what it asked for."
        case "superseded":
            return (
                f"Another event of the same {entity.kind}, or of what it belongs to, happened"
                f" later and took its place; that one is {entity.state}."
            )
        case "dead":
            return (
                f"Supabase refuses it for good. When the cause is mended:"
                f" relay replay {event.event_id}"
            )
        case "pending" if entity.last_error_code == _PARENT_MISSING:
            return (
                "The trip or user that it belongs to is not in Supabase yet; it is written as soon"
                " as that is, and given up after 24 hours."
            )
        case "pending" if entity.error:
            return "Supabase has refused it so far; it is tried again by itself."
        case "pending":
            return "It is stored and waits to be written; see relay's /health if that takes long."
        case status:
            return f"It is {tidy(status)}."


def _describe_desired(entity: EntityAnswer) -> str:
    return "Supabase should hold no row" if entity.is_removed else "Supabase should hold its row"


def _write_exact(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC"


def _write_lag(seconds: float) -> str:
    # Below a second it says nothing: two machines' clocks differ by as much.
    return f", {write_duration(seconds)} later" if seconds >= 1 else ""


def _shorten(entity: EntityAnswer) -> str:
    """Give the first eight digits of each id, as far as anybody compares them by eye."""
    parts = [part if len(part) <= 9 else f"{part[:8]}…" for part in entity.key.split("/")]
    return tidy("/".join(parts))
