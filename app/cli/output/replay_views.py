"""How replays look: the progress of one, its result, and the list."""

import time
from functools import partial
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.text import Text

from app.cli.client.api_models import ReplayAnswer
from app.cli.client.delivery import deliver
from app.cli.client.relay_client import Document, RelayClient
from app.cli.errors import CommandFailed, NotFinished
from app.cli.output.console import (
    STATUS_STYLES,
    Listed,
    errors,
    output,
    print_fields,
    report_wait,
    sanitize,
    write_instant,
    write_time,
)
from app.cli.output.progress import make_progress
from app.domain.wording import count

_PATIENCE_SECONDS: Final = 60.0  # longer than a restart of the relay
_STALL_SHOWN_SECONDS: Final = 3.0


def get_replay(relay: RelayClient, replay_id: str) -> Document:
    """Get a replay; the relay writes its ids in lower case."""
    return relay.get_named("/replay", "replay_id", replay_id.lower())


def watch_replay(relay: RelayClient, replay_id: str, *, stall_timeout: float) -> Document:
    """Show the progress of a replay until it is settled, and return it then.

    Raises:
        NotFinished: the replay made no progress for `stall_timeout` seconds.
        RelayUnavailable: for longer than a restart takes.
    """
    last_progress: tuple[int, int] | None = None
    progressed_at = time.monotonic()
    pause = 0.1
    columns = (TextColumn("applied"), BarColumn(), MofNCompleteColumn())
    with make_progress(*columns, TextColumn("[yellow]{task.fields[note]}")) as bars:
        bar = bars.add_task("", total=None, note="")
        while True:
            document = deliver(
                partial(get_replay, relay, replay_id),
                patience_seconds=_PATIENCE_SECONDS,
                report_wait=report_wait,
            )
            answer = relay.read(document, ReplayAnswer)
            if answer.is_settled:
                return document
            settled = answer.applied + answer.dead + answer.superseded
            if (answer.marked, settled) != last_progress:
                last_progress, progressed_at = (answer.marked, settled), time.monotonic()
            stalled = time.monotonic() - progressed_at
            if stalled > stall_timeout:
                raise NotFinished(
                    f"the replay makes no progress: {count(answer.waiting, 'entity')} pending",
                    [_explain_stall(relay)],
                )
            note = _explain_stall(relay) if stalled > _STALL_SHOWN_SECONDS else ""
            # Entities that changed since the replay was counted may be requeued as well.
            total = max(answer.entities, settled)
            bars.update(bar, completed=settled, total=total, note=note)
            time.sleep(pause)
            pause = min(2 * pause, 1.0)


def _explain_stall(relay: RelayClient) -> str:
    """Return Supabase's problem as the relay's health gives it, or where else to look."""
    try:
        health = relay.get("/health")
    except CommandFailed:
        health = {}
    match health:
        case {"checks": {"supabase": {"reason": str(reason)}}}:
            return sanitize(reason)
        case _:
            return "Why: relay events --status pending"


def show_replay_result(answer: ReplayAnswer) -> None:
    """Print how far a replay is, in one line."""
    line = Text.assemble(
        (answer.status, STATUS_STYLES.get(answer.status, "")),
        f"  {count(answer.matched_events, 'event')} of {count(answer.entities, 'entity')}: ",
        f"{answer.applied:,} applied",
    )
    # Some entities may no longer match: a completed replay leaves none to requeue.
    not_requeued = 0 if answer.status == "completed" else answer.entities - answer.marked
    for number, word, style in (
        (answer.dead, "dead", "bold red"),
        (answer.superseded, "superseded by a later replay", "blue"),
        (answer.waiting, "pending", "yellow"),
        (not_requeued, "not requeued yet", "yellow"),
    ):
        if number > 0:
            line.append(", ").append(f"{number:,} {word}", style=style)
    output.print(line)
    if answer.dead:
        errors.print("Why: relay events --status dead", style="dim")


def show_replay(answer: ReplayAnswer) -> None:
    """Print a replay, and the request for it."""
    show_replay_result(answer)
    print_fields(
        {
            "requested": f"{write_time(answer.requested_at)} UTC",
            "by": answer.requested_by or "a token without a subject",
            "filter": _describe_filter(answer),
        }
    )


def list_replay(answer: ReplayAnswer) -> Listed:
    """Make the entry of a list."""
    requested_by, filter_ = answer.requested_by or "", _describe_filter(answer)
    numbers = (answer.entities, answer.applied, answer.dead, answer.waiting)
    return Listed(
        Text.assemble(
            f"{write_time(answer.requested_at)}  ",
            (f"{answer.status:<9}", STATUS_STYLES.get(answer.status, "")),
            f"  {answer.replay_id}  {count(answer.entities, 'entity')}",
            (f", {answer.dead:,} dead" if answer.dead else "", "bold red"),
        ),
        {"by": requested_by, "filter": filter_},
        [
            write_instant(answer.requested_at),
            answer.status,
            answer.replay_id,
            *map(str, numbers),
            requested_by,
            filter_,
        ],
    )


def _describe_filter(answer: ReplayAnswer) -> str:
    parts: list[str] = []
    for name, value in answer.filter.items():
        match value:
            case None | False:
                continue
            case {"kind": kind, "key": key}:
                parts.append(f"{name} {kind}/{key}")
            case [*several]:
                shown = ", ".join(str(item) for item in several[:3])
                parts.append(f"{name} {shown}{', …' if len(several) > 3 else ''}")
            case _:
                parts.append(f"{name} {value}")
    return "; ".join(parts) or "everything"
