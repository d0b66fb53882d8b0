"""How a comparison looks: its tables, the differences, and the plan."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, Final

from rich.text import Text

from app.cli.client.drift_models import (
    DifferenceAnswer,
    DriftReport,
    SourceReport,
    SourceTable,
    SupabaseTable,
    TableReport,
)
from app.cli.output.console import errors, output, sanitize
from app.domain.drift import Difference, Effect, Origin, Repair, RepairStatus
from app.domain.drift_text import EFFECTS, ORIGINS
from app.domain.wording import count

_SHOWN_DIFFERENCES: Final = 20
_STYLES: Final = {Effect.LEAKS: "bold red", Effect.DENIES: "yellow", Effect.OTHER: ""}


@dataclass(frozen=True, slots=True)
class Wording:
    """Names the two sides of a comparison.

    Attributes:
        checked: the side that repair changes.
        reference: the side that is right.
        changed: the origin of a row that both sides know.
        unit: of a repair.
        done: what a repair did to the units.
    """

    checked: str
    reference: str
    changed: str
    unit: str
    done: str


SUPABASE: Final = Wording(
    "Supabase", "the desired state", ORIGINS[Origin.CHANGED], "entity", "repaired"
)
SOURCE: Final = Wording("The relay", "the source", "changed without an event", "event", "sent")


def show_summary(report: DriftReport, wording: Wording) -> None:
    """Print whether both sides are equal, and the counts of each table if they are not."""
    rows = count(sum(table.rows for table in report.tables), "row")
    if report.differences:
        number = count(report.differences, "difference")
        output.print(f"{wording.checked} differs from {wording.reference}: {number}.")
        headings = ["relay", "source"] if isinstance(report, SourceReport) else ["rows"]
        _print_table([["", *headings, *Effect], *map(_write_cells, report.tables)])
    else:
        output.print(f"[green]{wording.checked} equals {wording.reference}[/]: {rows}.")
    if isinstance(report, SourceReport) and report.newer:
        _show_note(f"{count(report.newer, 'entity')} changed after the snapshot: not compared.")
    if isinstance(report, SourceReport) and report.unsent:
        _show_note(f"{count(report.unsent, 'entity')} with unsent events: not compared.")
    if report.repair is RepairStatus.AUTOMATIC:
        _show_note(f"The relay repairs {count(report.repaired, 'leak')} by itself.")


def _show_note(note: str) -> None:
    output.print(note, style="dim", markup=False)


def _write_cells(table: TableReport) -> list[str]:
    numbers = [table.rows, *(table.count(effect) for effect in Effect)]
    name = f"{table.kind}s"
    if isinstance(table, SourceTable):
        numbers.insert(1, table.source_rows)
    elif isinstance(table, SupabaseTable):
        name = sanitize(table.table)
    return [name, *(f"{number:,}" for number in numbers)]


def _print_table(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, (name, *cells) in enumerate(lines):
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        line = "  ".join([f"  {name:<{widths[0]}}", *padded])
        output.print(Text(line, "dim" if number == 0 else ""))


def show_differences(
    differences: Iterable[Difference],
    report: DriftReport,
    wording: Wording,
    *,
    file: IO[bytes] | None,
    is_shown: bool,
) -> None:
    """Print some differences of each effect, and write all of them to a file if one is given.

    Args:
        differences: in the order of a report.
        report: counts them.
        wording: names both sides.
        file: for all of them, one a line.
        is_shown: whether to print anything.
    """
    shown = dict.fromkeys(Effect, 0)
    for found in differences:
        if file is not None:
            file.write(DifferenceAnswer.write(found).encode() + b"\n")
        number = shown[found.effect]
        if not is_shown or number >= _SHOWN_DIFFERENCES:
            continue
        if number == 0:
            _show_heading(found.effect, report.count(found.effect))
        _show_difference(found, wording)
        shown[found.effect] = number + 1
        rest = report.count(found.effect) - _SHOWN_DIFFERENCES
        if number + 1 == _SHOWN_DIFFERENCES and rest > 0:
            hint = "" if file is not None else "; --output FILE writes all of them"
            output.print(f"  … and {rest:,} more{hint}", style="dim")


def _show_heading(effect: Effect, number: int) -> None:
    heading = Text.assemble((effect.value, _STYLES[effect]), f": {number:,}, {EFFECTS[effect]}")
    output.print()
    output.print(heading)


def _show_difference(found: Difference, wording: Wording) -> None:
    origins = {**ORIGINS, Origin.CHANGED: wording.changed}
    repair = f"repair: {found.repair}"
    if found.repair is Repair.NONE:
        repair = f"not repaired: {sanitize(found.note or 'no reason given')}"
    columns = f" ({sanitize(', '.join(found.columns))})" if found.columns else ""
    output.print(Text(f"  {found.ref.kind}/{sanitize(found.ref.key)}"))
    output.print(Text(f"    {found.kind}{columns}; {origins[found.origin]}; {repair}", "dim"))


def show_plan(report: DriftReport, refusal: str | None, next_command: str) -> None:
    """Print the plan's id, what it removes, and the command that repairs it."""
    output.print(f"\nPlan [bold]{report.plan_id}[/]: {count(report.removals, 'removal')}.")
    if refusal is not None:
        output.print(f"A repair needs approval: {sanitize(refusal)}.", markup=False)
    errors.print(f"Next: {next_command}", style="dim", markup=False)
