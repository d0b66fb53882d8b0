"""`relay send --file`: send a file of events, or standard input.

A file may be sent again at any time: what the relay has stored is a duplicate and does no harm.
"""

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, BinaryIO, Final

import typer
from rich.progress import BarColumn, TaskProgressColumn, TimeRemainingColumn

from app.cli.client.batches import BatchSender, LineResult
from app.cli.client.delivery import BATCH_STATUSES
from app.cli.client.ndjson import gather_batches, read_lines
from app.cli.client.relay_client import open_client
from app.cli.client.signing import WebhookSigner
from app.cli.errors import CommandFailed
from app.cli.output.console import errors, output, report_wait, sanitize
from app.cli.output.progress import make_progress
from app.domain.errors import ConfigurationInvalid
from app.domain.wording import count, write_duration
from app.store.private_files import open_private

STANDARD_INPUT: Final = Path("-")
_SHOWN_REJECTS: Final = 20


def send_file(
    path: Path,
    *,
    url: str,
    signer: WebhookSigner,
    rejects: Path | None,
    patience_seconds: float,
    as_json: bool,
) -> None:
    """Send every event of an NDJSON file in batches, and report each rejected line.

    Raises:
        ConfigurationInvalid: a file cannot be opened.
        CommandFailed: the relay rejects every batch, or was unavailable for too long.
        typer.Exit: with code 1 if lines were rejected, with 130 after Ctrl-C.
    """
    started_at = time.monotonic()
    tally = dict.fromkeys(("lines", *BATCH_STATUSES), 0)
    with ExitStack() as stack:
        file, reporter = _open_files(path, rejects, stack)
        client = stack.enter_context(open_client(url))
        sender = BatchSender(client, signer, patience_seconds, report_wait)
        try:
            for batch in gather_batches(read_lines(file)):
                for result in sender.send(batch):
                    tally[result.status] += 1
                    if result.status in ("conflict", "invalid"):
                        reporter.report(result)
                tally["lines"] = batch[-1].number
        except (CommandFailed, KeyboardInterrupt) as error:
            hint = f"Lines up to {tally['lines']:,} are done. Send the file again: they do no harm."
            if isinstance(error, CommandFailed):
                error.details = (*error.details, hint)
                raise
            errors.print(f"Stopped. {hint}")
            raise typer.Exit(130) from error
    if as_json:
        typer.echo(json.dumps(tally))
    else:
        _show_summary(tally, time.monotonic() - started_at)
    if tally["conflict"] or tally["invalid"]:
        raise typer.Exit(1)


def _open_files(
    path: Path, rejects: Path | None, stack: ExitStack
) -> tuple[BinaryIO, "_RejectReporter"]:
    """Open the file of events, behind a progress bar, and that of rejected lines."""
    try:
        if path == STANDARD_INPUT:
            file: BinaryIO = sys.stdin.buffer
        else:
            file = stack.enter_context(path.open("rb"))
            if rejects is not None and rejects.exists() and rejects.samefile(path):
                raise ConfigurationInvalid("--rejects names the file of events itself")
        rejects_file = None
        if rejects is not None:
            rejects_file = stack.enter_context(open_private(rejects, "wb"))
    except OSError as error:
        raise ConfigurationInvalid(
            f"{error.filename} cannot be opened: {error.strerror}"
        ) from error
    if path.is_file():
        columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        bars = stack.enter_context(make_progress(*columns))
        file = bars.wrap_file(file, path.stat().st_size)
    return file, _RejectReporter(rejects_file)


class _RejectReporter:
    """Shows some rejected lines, and writes all of them to a file if one is given."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._reported = 0

    def report(self, result: LineResult) -> None:
        if self._file is not None:
            self._file.write(_write_reject(result))
        if self._reported == _SHOWN_REJECTS:
            hint = "" if self._file else "; --rejects FILE writes all of them"
            errors.print(f"… further rejected lines are only counted{hint}.", style="dim")
        elif self._reported < _SHOWN_REJECTS:
            for error in result.errors:
                text = sanitize(f"{error.pointer} {error.detail}")
                errors.print(f"line {result.line.number}: {result.status}: {text}", markup=False)
        self._reported += 1


def _write_reject(result: LineResult) -> bytes:
    """Write a rejected line so that it can be fixed and sent: the event, and its errors."""
    about: dict[str, object] = {
        "line": result.line.number,
        "status": result.status,
        "errors": [asdict(error) for error in result.errors],
    }
    text = result.line.content.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    about = {**document, **about} if isinstance(document, dict) else {**about, "text": text}
    try:
        return json.dumps(about).encode() + b"\n"
    except RecursionError:
        return json.dumps({**about, "data": None}).encode() + b"\n"


def _show_summary(tally: dict[str, int], seconds: float) -> None:
    styles = {"accepted": "green", "conflict": "bold red", "invalid": "bold red"}
    parts = [
        f"[{styles.get(status, 'none')}]{tally[status]:,} {status}[/]"
        for status in BATCH_STATUSES
        if tally[status] or status == "accepted"
    ]
    took = write_duration(seconds)
    output.print(f"{count(tally['lines'], 'line')}: {', '.join(parts)} [dim]{took}[/]")
