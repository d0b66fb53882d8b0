"""How replays look: the watching of one, where it stands, and the list."""

import json
import time
from collections.abc import Iterator
from typing import Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from app.cli.client.api_models import ReplayAnswer, ReplayPage
from app.cli.client.relay_client import Document, RemoteRelay
from app.cli.client.replay_lookup import get_replay
from app.cli.errors import CommandFailed, RelayAway
from app.cli.output.console import STATUS_STYLES, complain, count, errors, output, tidy, write_time

_LISTED: Final = 20
_POLL_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
_PATIENCE_SECONDS: Final = 60.0  # a restart of the relay takes less
_LOOK_AT_PENDING: Final = "why: relay events --status pending"
_STILL_SECONDS: Final = 3.0


def watch_replay(
    relay: RemoteRelay, replay_id: str, *, patience_seconds: float
) -> tuple[Document, ReplayAnswer]:
    """Show how a replay gets on until all of it is settled, and give where it ended.

    Raises:
        RelayAway: for longer than a restart takes, or nothing has moved for `patience_seconds`.
        typer.Exit: by Ctrl-C, with code 130; the replay goes on.
    """
    try:
        with _Bars() as bars:
            for document in _poll(relay, replay_id):
                answer = relay.read(document, ReplayAnswer)
                bars.show(relay, answer)
                if answer.is_settled:
                    return document, answer
                if bars.still_seconds > patience_seconds:
                    raise RelayAway(_describe_standstill(relay, answer))
    except KeyboardInterrupt as error:
        errors.print(f"\nThe relay goes on with it. Look again: relay replay --show {replay_id}")
        raise typer.Exit(130) from error
    except RelayAway as error:
        raise RelayAway(
            f"{str(error).rstrip('.')}. The relay goes on with it as soon as it can; look again:"
            f" relay replay --show {replay_id}"
        ) from error
    raise AssertionError("polling ends by what is settled")


def _poll(relay: RemoteRelay, replay_id: str) -> Iterator[Document]:
    heard_at = time.monotonic()
    polls = 0
    while True:
        try:
            document = get_replay(relay, replay_id)
        except RelayAway:
            if time.monotonic() - heard_at > _PATIENCE_SECONDS:
                raise
        else:
            heard_at = time.monotonic()
            yield document
        time.sleep(_POLL_SECONDS[min(polls, len(_POLL_SECONDS) - 1)])
        polls += 1


class _Bars:
    """Two bars: what is marked to be written again, and what of it is settled."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("[yellow]{task.fields[note]}"),
            console=errors,
            transient=True,
            disable=not errors.is_terminal,
        )
        self._marked = self._progress.add_task("marked ", total=None, note="")
        self._settled = self._progress.add_task("settled", total=None, note="")
        self._last = (-1, -1)
        self._moved_at = time.monotonic()

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @property
    def still_seconds(self) -> float:
        """For how long nothing has moved."""
        return time.monotonic() - self._moved_at

    def show(self, relay: RemoteRelay, answer: ReplayAnswer) -> None:
        settled = answer.applied + answer.dead + answer.superseded
        if (answer.marked, settled) != self._last:
            self._last = (answer.marked, settled)
            self._moved_at = time.monotonic()
        self._move(self._marked, answer.marked, answer.entities, "")
        is_still = self.still_seconds > _STILL_SECONDS and not self._progress.disable
        note = _ask_why(relay) if is_still else ""
        self._move(self._settled, settled, answer.entities, note)

    def _move(self, bar: TaskID, completed: int, total: int, note: str) -> None:
        # What came in since the replay was counted may have been marked as well.
        total = max(total, completed)
        self._progress.update(bar, completed=completed, total=total, note=note)


def _describe_standstill(relay: RemoteRelay, answer: ReplayAnswer) -> str:
    return (
        f"nothing moves: {count(answer.waiting, 'entity')} still to be written; {_ask_why(relay)}"
    )


def _ask_why(relay: RemoteRelay) -> str:
    """Say why nothing moves: what the relay's health says of Supabase, or where else to look."""
    try:
        health = relay.get("/health")
    except CommandFailed:
        return _LOOK_AT_PENDING
    match health:
        case {"checks": {"supabase": {"reason": str(reason)}}}:
            return tidy(reason)
        case _:
            return _LOOK_AT_PENDING


def print_replay(document: Document, answer: ReplayAnswer, *, as_json: bool) -> None:
    """Print where a replay stands."""
    if as_json:
        output.print_json(data=document)
        return
    line = Text.assemble(
        (answer.status, STATUS_STYLES.get(answer.status, "")),
        f"  {count(answer.matched_events, 'event')} of {count(answer.entities, 'entity')}: ",
        f"{answer.applied:,} applied",
    )
    # Of those counted at first, some may have ceased to be meant.
    unmarked = 0 if answer.status == "completed" else answer.entities - answer.marked
    for number, word, style in (
        (answer.dead, "dead", "bold red"),
        (answer.superseded, "taken over by a later replay", "blue"),
        (answer.waiting, "to be written", "yellow"),
        (unmarked, "to be marked", "yellow"),
    ):
        if number > 0:
            line.append(", ").append(f"{number:,} {word}", style=style)
    output.print(line)
    if answer.dead:
        errors.print("Why: relay events --status dead", style="dim")


def end_with(answer: ReplayAnswer) -> None:
    """End with the exit code of a replay that has ended."""
    if answer.status == "failed":
        complain(
            "relay replay", "the relay could not mark all of it; its log says why. Start anew."
        )
    if answer.dead or answer.status == "failed":
        raise typer.Exit(1)


def show_replay(relay: RemoteRelay, replay_id: str, *, as_json: bool) -> None:
    """Print how far an earlier replay is."""
    document = get_replay(relay, replay_id)
    answer = relay.read(document, ReplayAnswer)
    print_replay(document, answer, as_json=as_json)
    if not as_json:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("asked for", f"{write_time(answer.requested_at)} UTC")
        table.add_row("by", tidy(answer.requested_by or "a token without a subject"))
        table.add_row("what", _describe_filter(answer))
        output.print(table, soft_wrap=False)
    end_with(answer)


def list_replays(relay: RemoteRelay, *, as_json: bool) -> None:
    """Print the latest replays, newest first."""
    page = relay.read(relay.get("/replay", {"limit": _LISTED}), ReplayPage)
    if as_json:
        for document in page.replays:
            typer.echo(json.dumps(document, ensure_ascii=False))
        return
    if not page.replays:
        errors.print("Nothing has been replayed.", style="dim")
        return
    for document in page.replays:
        answer = relay.read(document, ReplayAnswer)
        if not output.is_terminal:
            typer.echo(_write_plain_line(answer))
            continue
        output.print(
            Text.assemble(
                f"{write_time(answer.requested_at)}  ",
                (f"{answer.status:<9}", STATUS_STYLES.get(answer.status, "")),
                f"  {answer.replay_id}  {count(answer.entities, 'entity')}",
                (f", {answer.dead:,} dead" if answer.dead else "", "bold red"),
            )
        )
        output.print(
            Text(f"{'':21}{tidy(answer.requested_by or '')}: {_describe_filter(answer)}", "dim")
        )


def _write_plain_line(answer: ReplayAnswer) -> str:
    cells = (
        f"{write_time(answer.requested_at).replace(' ', 'T')}Z",
        answer.status,
        answer.replay_id,
        *(str(n) for n in (answer.entities, answer.applied, answer.dead, answer.waiting)),
        answer.requested_by or "",
        _describe_filter(answer),
    )
    return "\t".join(tidy(cell) for cell in cells)


def _describe_filter(answer: ReplayAnswer) -> str:
    parts: list[str] = []
    for name, value in answer.filter.items():
        match value:
            case None | False:
                continue
            case True:
                parts.append(name)
            case {"kind": kind, "key": key}:
                parts.append(f"{name} {kind}/{key}")
            case [str(only)]:
                parts.append(f"{name} {only}")
            case [*several]:
                shown = ", ".join(str(item) for item in several[:3])
                parts.append(f"{name} {shown}{', …' if len(several) > 3 else ''}")
            case _:
                parts.append(f"{name} {value}")
    return tidy("; ".join(parts)) or "everything"
