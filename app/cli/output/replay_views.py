"""How replays look: the progress of one, its result, and the list."""

import time
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from app.cli.client.api_models import ReplayAnswer
from app.cli.client.relay_client import Document, RelayClient
from app.cli.client.replay_lookup import PATIENCE_SECONDS, get_replay
from app.cli.errors import CommandFailed, NotFinished, RelayUnavailable
from app.cli.output.console import (
    STATUS_STYLES,
    count,
    errors,
    output,
    print_fields,
    sanitize,
    write_time,
)

_POLL_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
_STALL_SHOWN_SECONDS: Final = 3.0


def watch_replay(relay: RelayClient, replay_id: str, *, stall_timeout: float) -> Document:
    """Show the progress of a replay until it is settled, and return it then.

    Args:
        relay: that has the replay.
        replay_id: of the replay.
        stall_timeout: how long the replay may make no progress, in seconds.

    Raises:
        NotFinished: the replay made no progress for too long.
        RelayUnavailable: for longer than a restart takes.
    """
    last_progress: tuple[int, int] | None = None
    responded_at = progressed_at = time.monotonic()
    polls = 0
    with Progress(
        TextColumn("applied"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[yellow]{task.fields[note]}"),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    ) as bars:
        bar = bars.add_task("", total=None, note="")
        while True:
            now = time.monotonic()
            try:
                document = get_replay(relay, replay_id)
            except RelayUnavailable:
                if now - responded_at > PATIENCE_SECONDS:
                    raise
            else:
                responded_at = now
                answer = relay.read(document, ReplayAnswer)
                if answer.is_settled:
                    return document
                settled = answer.applied + answer.dead + answer.superseded
                if (answer.marked, settled) != last_progress:
                    last_progress, progressed_at = (answer.marked, settled), now
                stalled = now - progressed_at
                if stalled > stall_timeout:
                    raise NotFinished(
                        f"the replay makes no progress: {count(answer.waiting, 'entity')} pending",
                        [_explain_stall(relay)],
                    )
                note = _explain_stall(relay) if stalled > _STALL_SHOWN_SECONDS else ""
                # Entities that changed since the replay was counted may be requeued as well.
                total = max(answer.entities, settled)
                bars.update(bar, completed=settled, total=total, note=note)
            time.sleep(_POLL_SECONDS[min(polls, len(_POLL_SECONDS) - 1)])
            polls += 1


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


def show_listed_replay(answer: ReplayAnswer) -> None:
    """Print a replay of a list."""
    output.print(
        Text.assemble(
            f"{write_time(answer.requested_at)}  ",
            (f"{answer.status:<9}", STATUS_STYLES.get(answer.status, "")),
            f"  {answer.replay_id}  {count(answer.entities, 'entity')}",
            (f", {answer.dead:,} dead" if answer.dead else "", "bold red"),
        )
    )
    print_fields({"by": answer.requested_by or "", "filter": _describe_filter(answer)})


def write_tab_separated(answer: ReplayAnswer) -> str:
    """Write a replay for another program, in one line."""
    cells = (
        f"{write_time(answer.requested_at).replace(' ', 'T')}Z",
        answer.status,
        answer.replay_id,
        *(str(n) for n in (answer.entities, answer.applied, answer.dead, answer.waiting)),
        answer.requested_by or "",
        _describe_filter(answer),
    )
    return "\t".join(map(sanitize, cells))


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
