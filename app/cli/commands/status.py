"""`relay status`: the state of a relay on one screen."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from app.cli import options
from app.cli.client.status_reader import StatusReader, StatusReport
from app.cli.output.console import output, write_time
from app.cli.output.status_views import make_screen
from app.domain.wording import write_duration

_EXIT_CODES: Final = {"ok": 0, "degraded": 1}
_DOWN: Final = 2


class _Contact:
    """Notes when the relay stopped responding, and when it responded again."""

    def __init__(self) -> None:
        self._lost_at: datetime | None = None
        self._note = ""

    def note(self, report: StatusReport, now: datetime) -> str:
        if report.health is None:
            self._lost_at = self._lost_at or now
            return f"No response since {write_time(self._lost_at)} UTC; retrying."
        if self._lost_at is not None:
            gap = write_duration((now - self._lost_at).total_seconds())
            self._note = f"Responds again since {write_time(now)} UTC, after {gap}."
            self._lost_at = None
        return self._note


def status(
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", min=0.1, metavar="SECONDS", help="With --watch: how often."),
    ] = 2.0,
    as_json: options.AsJson = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Show the state of the relay on one screen.

    The state and its reason, the backlog, the circuit breaker and its next
    probe, how long revocations took in the last hour, the leader, drift, dead
    entities by cause, and the latest events. Without a token, only what
    /health shows.

    Exit code 0: ok; 1: degraded; 2: down or unreachable. With --watch, Ctrl-C
    ends with 0, and --json prints one document a line.

    Examples:
      relay status
      relay status --watch
    """
    reader = StatusReader(url, token)
    if watch:
        try:
            _watch(reader, url, interval, as_json=as_json)
        except KeyboardInterrupt:
            return
    report = reader.read()
    if as_json:
        output.print_json(json.dumps(_make_document(report)))
    else:
        _print_screen(_render(report, url))
    state = None if report.health is None else report.health.status
    raise typer.Exit(_EXIT_CODES.get(state or "", _DOWN))


def _watch(reader: StatusReader, url: str, interval: float, *, as_json: bool) -> None:
    contact = _Contact()

    def read_again() -> Iterator[tuple[StatusReport, str]]:
        while True:
            report = reader.read()
            yield report, contact.note(report, datetime.now(UTC))
            time.sleep(interval)

    if as_json:
        for report, _ in read_again():
            typer.echo(json.dumps(_make_document(report)))
    elif not output.is_terminal:
        for report, note in read_again():
            _print_screen([*_render(report, url, note), Text()])
    else:
        lines: list[Text] = []
        try:
            # The alternate screen is written over, so that nothing flickers.
            with Live(console=output, screen=True, auto_refresh=False) as live:
                for report, note in read_again():
                    lines = _render(report, url, note)
                    live.update(Group(*lines), refresh=True)
        finally:
            _print_screen(lines)


def _render(report: StatusReport, url: str, note: str = "") -> list[Text]:
    size = (output.width, output.height) if output.is_terminal else None
    return make_screen(report, url, note=note, size=size)


def _print_screen(lines: list[Text]) -> None:
    for line in lines:
        output.print(line)


def _make_document(report: StatusReport) -> dict[str, object]:
    return {
        "health": report.health_document,
        "status": report.status_document,
        "unreachable": report.unreachable,
        "missing": report.missing,
    }
