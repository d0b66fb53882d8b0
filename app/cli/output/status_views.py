"""How the status of a relay looks: one screen of lines."""

from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Final

from rich.text import Text

from app.cli.client.api_models import EventAnswer, ExposureSummary
from app.cli.client.status_models import (
    BacklogAnswer,
    CircuitBreakerAnswer,
    DriftAnswer,
    HealthAnswer,
    StatusAnswer,
)
from app.cli.client.status_reader import StatusReport
from app.cli.output.console import STATUS_STYLES, count, sanitize, write_duration, write_time

UNREACHABLE: Final = "unreachable"
_STYLES: Final = {"ok": "bold green", "degraded": "bold yellow"}
_BAD: Final = "bold red"
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
        yield "breaker", *_describe_breaker(status.circuit_breaker, status.at)
        for held in status.held_rows:
            rows = f"{'deletes' if held.is_delete else 'writes'} of {held.kind}s"
            yield "held", f"{rows}; next trial {_write_until(held.next_trial_at, status.at)}", ""
    yield "backlog", *_describe_backlog(health.backlog)
    if status is not None:
        yield "revocations", *_describe_revocations(status.revocations)
        yield "leader", *_describe_leader(status)
    yield "drift", *_describe_drift(health.drift)
    if report.missing:
        yield "not shown", _describe_missing(health, report.missing), "yellow"


def _make_field(label: str, value: str, style: str, size: tuple[int, int] | None) -> Iterator[Text]:
    lines = [sanitize(value)]
    if size is not None:
        width = max(20, size[0] - _LABEL_WIDTH - 2)
        lines = wrap(lines[0], width, max_lines=_VALUE_LINES, placeholder=" …")
    for number, line in enumerate(lines):
        shown = label if number == 0 else ""
        yield Text.assemble((f"  {shown:<{_LABEL_WIDTH}}", "dim"), (line, style))


def _describe_breaker(breaker: CircuitBreakerAnswer | None, at: datetime) -> tuple[str, str]:
    if breaker is None:
        return "unknown: no replica dispatches", "yellow"
    if not breaker.is_open or breaker.opened_at is None or breaker.next_probe_at is None:
        return "closed", ""
    duration = write_duration((at - breaker.opened_at).total_seconds())
    return f"open for {duration}; next probe {_write_until(breaker.next_probe_at, at)}", "yellow"


def _describe_backlog(backlog: BacklogAnswer) -> tuple[str, str]:
    if backlog.pending is None or backlog.dead is None:
        return "unknown: the store cannot be read", _BAD
    parts = [f"{backlog.pending:,} pending"]
    if backlog.pending:
        parts.append(f"oldest {write_duration(backlog.oldest_pending_seconds)}")
    if backlog.oldest_removal_seconds:
        parts.append(f"oldest revocation {write_duration(backlog.oldest_removal_seconds)}")
    parts.append(f"{backlog.dead:,} dead")
    return ", ".join(parts), "red" if backlog.dead else "yellow" if backlog.pending else ""


def _describe_revocations(summary: ExposureSummary | None) -> tuple[str, str]:
    if summary is None:
        return "too many in the last hour to measure here: relay exposure --since 1h", "yellow"
    if not summary.revocations:
        return "last hour: none", ""
    percentiles = {
        "p50": summary.p50_seconds,
        "p95": summary.p95_seconds,
        "p99": summary.p99_seconds,
        "max": summary.maximum_seconds,
    }
    lag = ", ".join(
        f"{name} {write_duration(seconds)}"
        for name, seconds in percentiles.items()
        if seconds is not None
    )
    unapplied = f", {summary.unapplied:,} still exposed" if summary.unapplied else ""
    return (
        f"last hour: {summary.revocations:,}{unapplied}; lag {lag}",
        _BAD if summary.unapplied else "",
    )


def _describe_leader(status: StatusAnswer) -> tuple[str, str]:
    if status.leader is None:
        return f"none; {status.replica} responds", "yellow"
    if status.leader == status.replica:
        return f"{status.leader}, which responds", ""
    return f"{status.leader}; {status.replica} responds", ""


def _describe_drift(drift: DriftAnswer) -> tuple[str, str]:
    age = "" if drift.age_seconds is None else f", checked {write_duration(drift.age_seconds)} ago"
    match drift.status:
        case "equal":
            return f"none{age}", ""
        case "differs":
            leaks, denies = count(drift.leaks or 0, "leak"), count(drift.denies or 0, "deny")
            numbers = f"{leaks}, {denies}, {drift.other or 0:,} other"
            return f"{numbers}{age}: relay reconcile", _BAD if drift.leaks else "yellow"
        case "failed":
            return f"the check failed: {drift.failure}{age}", "yellow"
        case _:
            return "not checked yet", ""


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
        detail = f"next attempt {_write_until(event.entity.next_attempt_at, at)}  "
    elif event.status == "dead":
        detail = f"{sanitize(event.entity.last_error_code or '')}  "
    return Text.assemble(
        f"  {event.received_at.astimezone(UTC):%H:%M:%S}  ",
        (f"{sanitize(event.status):<10}  ", STATUS_STYLES.get(event.status, "")),
        f"{sanitize(event.type):<18}  {detail}",
        (sanitize(event.event_id), "dim"),
    )


def _write_until(moment: datetime, at: datetime) -> str:
    seconds = (moment - at).total_seconds()
    return f"in {write_duration(seconds)}" if seconds > 0 else "now"
