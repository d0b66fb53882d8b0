"""How the status of a relay looks: one screen of lines."""

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Final

from rich.text import Text

from app.cli.client.api_models import EventAnswer, ExposureSummary
from app.cli.client.status_models import (
    DriftAnswer,
    HealthAnswer,
    StatusAnswer,
)
from app.cli.client.status_reader import StatusReport
from app.cli.output.console import STATUS_STYLES, sanitize, write_time
from app.domain import status_text
from app.domain.status_text import Sentence, Tone

UNREACHABLE: Final = "unreachable"
_STYLES: Final = {"ok": "bold green", "degraded": "bold yellow"}
_BAD: Final = "bold red"
_TONES: Final = {Tone.NEUTRAL: "", Tone.WARNING: "yellow", Tone.BAD: _BAD}
_LABEL_WIDTH: Final = 13
_VALUE_LINES: Final = 2
_CAUSES: Final = 3

Field = tuple[str, str, str]
"""A label, a value and its style."""


def make_screen(
    report: StatusReport, url: str, *, note: str = "", size: tuple[int, int] | None = None
) -> list[Text]:
    """Make the lines that show a report.

    Args:
        report: to show.
        url: of the relay.
        note: on the connection to the relay.
        size: columns and lines of the terminal; None to shorten nothing.
    """
    health, status = report.health, report.status
    lines = [_make_heading(report, url)]
    fields = [("", note, "yellow"), *_list_fields(report)]
    for label, value, style in fields:
        if value:
            lines += _make_field(label, value, style, size)
    if health is not None and health.backlog.dead and status is not None:
        lines += _list_dead(health.backlog.dead, status)
    if status is not None and status.events:
        lines += [Text(), Text("Latest events", "bold")]
        room = len(status.events) if size is None else max(1, size[1] - len(lines) - 1)
        lines += [_make_event(event, status.at) for event in status.events[:room]]
    if size is not None:
        for line in lines:
            line.truncate(size[0], overflow="ellipsis")
    return lines


def _make_heading(report: StatusReport, url: str) -> Text:
    state = UNREACHABLE if report.health is None else sanitize(report.health.status)
    at = datetime.now(UTC) if report.status is None else report.status.at
    version = "" if report.health is None else f" {sanitize(report.health.version)}"
    return Text.assemble(
        (state.upper(), _STYLES.get(state, _BAD)),
        f"  {write_time(at)} UTC  relay{version} at {url}",
    )


def _list_fields(report: StatusReport) -> Iterator[Field]:
    health, status = report.health, report.status
    if health is None:
        yield "", report.unreachable or "", "red"
        return
    for name, check in health.checks.items():
        if check.status != "ok":
            yield name, check.reason or check.status, _STYLES.get(check.status, _BAD)
    if status is not None:
        yield _style("breaker", status_text.describe_breaker(status.circuit_breaker, status.at))
        for held in status.held_rows:
            trial_at, is_delete = held.next_trial_at, held.is_delete
            yield _style(
                "held",
                status_text.describe_held(held.kind, trial_at, status.at, is_delete=is_delete),
            )
    yield _style("backlog", status_text.describe_backlog(**health.backlog.model_dump()))
    if status is not None:
        yield _style("revocations", _describe_revocations(status.revocations))
        yield _style("leader", status_text.describe_leader(status.leader, status.replica))
    yield _style("drift", _describe_drift(health.drift))
    if report.missing:
        yield "not shown", _describe_missing(health, report.missing), "yellow"


def _style(label: str, sentence: Sentence) -> Field:
    return label, sentence.text, _TONES[sentence.tone]


def _make_field(label: str, value: str, style: str, size: tuple[int, int] | None) -> Iterator[Text]:
    lines = [sanitize(value)]
    if size is not None:
        width = max(20, size[0] - _LABEL_WIDTH - 2)
        lines = wrap(lines[0], width, max_lines=_VALUE_LINES, placeholder=" …")
    for number, line in enumerate(lines):
        shown = label if number == 0 else ""
        yield Text.assemble((f"  {shown:<{_LABEL_WIDTH}}", "dim"), (line, style))


def _describe_revocations(summary: ExposureSummary | None) -> Sentence:
    if summary is None:
        return Sentence(
            "too many in the last hour to measure here: relay exposure --since 1h", Tone.WARNING
        )
    return status_text.describe_exposure(summary)


def _describe_drift(drift: DriftAnswer) -> Sentence:
    text, tone = status_text.describe_drift(**drift.model_dump())
    return Sentence(f"{text}: relay reconcile" if drift.status == "differs" else text, tone)


def _describe_missing(health: HealthAnswer, reason: str) -> str:
    causes = ", dead by cause" if health.backlog.dead else ""
    return f"breaker, revocations, leader, events{causes}: {reason}"


def _list_dead(dead: int, status: StatusAnswer) -> Iterator[Text]:
    yield Text()
    yield Text("Dead by cause", "bold")
    for cause in status.dead[:_CAUSES]:
        number = f"  {cause.entities:>6,}  "
        yield Text.assemble((number, _BAD), sanitize(f"{cause.kind} {cause.code}: {cause.message}"))
    rest = dead - sum(cause.entities for cause in status.dead[:_CAUSES])
    if rest > 0:
        yield Text(f"  {rest:>6,}  others: relay events --status dead", "dim")


def _make_event(event: EventAnswer, at: datetime) -> Text:
    detail = ""
    if event.status == "pending" and event.entity.next_attempt_at is not None:
        due = status_text.write_until(event.entity.next_attempt_at, at)
        detail = f"next attempt {due}  "
    elif event.status == "dead":
        detail = f"{sanitize(event.entity.last_error_code or '')}  "
    return Text.assemble(
        f"  {event.received_at.astimezone(UTC):%H:%M:%S}  ",
        (f"{sanitize(event.status):<10}  ", STATUS_STYLES.get(event.status, "")),
        f"{sanitize(event.type):<18}  {detail}",
        (sanitize(event.event_id), "dim"),
    )
