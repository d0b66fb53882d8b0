"""The steps of `relay reconcile`: compare, report, repair, compare again."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn, Protocol

import typer

from app.cli.client.drift_models import DriftReport
from app.cli.errors import NotRepaired, UsageError
from app.cli.output.console import errors, output
from app.cli.output.drift_views import Wording, show_differences, show_plan, show_summary
from app.domain.drift import Difference, RepairStatus
from app.domain.errors import ConfigurationInvalid
from app.domain.wording import count
from app.store.private_files import open_private


class Reconciliation(Protocol):
    """Two sides that should be equal."""

    def compare(self) -> DriftReport:
        """Compare both sides now.

        Raises:
            CommandFailed: they cannot be compared.
        """
        ...

    def read_differences(self) -> Iterator[Difference]:
        """Read what the latest comparison found, in the order of a report."""
        ...

    def find_refusal(self, max_removals: str | None, approved_plan_id: str | None) -> str | None:
        """Return why what was found must not be repaired, as a sentence; None if it may."""
        ...

    def repair(self, max_removals: str | None, approved_plan_id: str | None) -> int:
        """Repair what was found, and return how many entities that were.

        Raises:
            NotRepaired: a guard refused it.
            CommandFailed: it was not repaired, or only in part.
        """
        ...


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """What to do about differences, and how to report them.

    Attributes:
        command: that compares the same sides again, as words.
    """

    command: Sequence[str]
    repair: bool
    max_removals: str | None
    approve: str | None
    yes: bool
    output: Path | None
    as_json: bool

    def check(self) -> None:
        """Check that the options go together.

        Raises:
            UsageError: they do not.
        """
        if not self.repair and (self.max_removals is not None or self.approve is not None):
            raise UsageError("--max-removals and --approve go with --repair")
        if self.repair and not self.yes and not sys.stdin.isatty():
            raise UsageError("a repair needs confirmation: add --yes, or leave out --repair")

    def write_repair(self, plan_id: str | None = None) -> str:
        """Write the command that repairs, approving a plan if one is given."""
        approval = [] if plan_id is None else ["--approve", plan_id]
        return shlex.join([*self.command, "--repair", *approval])

    @contextmanager
    def open_output(self) -> Iterator[IO[bytes] | None]:
        """Open the file of differences, if one is wanted.

        Raises:
            ConfigurationInvalid: it cannot be written.
        """
        if self.output is None:
            yield None
            return
        try:
            with open_private(self.output, "wb") as file:
                yield file
        except OSError as error:
            raise ConfigurationInvalid(
                f"{self.output} cannot be written: {error.strerror}"
            ) from error


def reconcile_sides(sides: Reconciliation, options: RepairOptions, wording: Wording) -> None:
    """Compare two sides, repair what differs if asked, and end with the exit code.

    Raises:
        CommandFailed: the sides cannot be compared, or not be repaired.
        typer.Exit: with 1 if they differ at the end.
    """
    report = _compare(sides, options, wording)
    plan_id = report.plan_id
    if plan_id is None:
        _print_json(report, options)
        return
    refusal = sides.find_refusal(options.max_removals, options.approve)
    next_command = options.write_repair(None if refusal is None else plan_id)
    if options.repair and refusal is None:
        _confirm(report, options)
        try:
            repaired = sides.repair(options.max_removals, options.approve)
        except NotRepaired as error:
            refusal = str(error)
        else:
            _end(_verify(sides, report, repaired, options, wording), options)
    if not options.repair:
        if not options.as_json:
            show_plan(report, refusal, next_command)
        _end(report, options)
    _refuse(report, options, refusal or "", plan_id)


def _compare(sides: Reconciliation, options: RepairOptions, wording: Wording) -> DriftReport:
    report = sides.compare()
    if not options.as_json:
        show_summary(report, wording)
    with options.open_output() as file:
        if report.differences and (file is not None or not options.as_json):
            show_differences(
                sides.read_differences(), report, wording, file=file, is_shown=not options.as_json
            )
    return report


def _confirm(report: DriftReport, options: RepairOptions) -> None:
    if options.yes:
        return
    errors.print(
        f"\nThe repair of {count(report.differences, 'difference')} includes"
        f" {count(report.removals, 'removal')}."
    )
    if not typer.confirm("Repair?", err=True):
        errors.print("Nothing is repaired.")
        raise typer.Exit(1)


def _verify(
    sides: Reconciliation,
    report: DriftReport,
    repaired: int,
    options: RepairOptions,
    wording: Wording,
) -> DriftReport:
    """Compare a second time, and return the first report with its result."""
    if not options.as_json:
        output.print(f"\n{count(repaired, wording.unit)} {wording.done}. Second comparison:")
    last = _compare(sides, options, wording)
    result = {
        "repair": RepairStatus.REQUESTED,
        "repaired": repaired,
        "remaining": last.differences,
    }
    return report.model_copy(update=result)


def _refuse(report: DriftReport, options: RepairOptions, refusal: str, plan_id: str) -> NoReturn:
    result = {"repair": RepairStatus.REFUSED, "refusal": refusal}
    _print_json(report.model_copy(update=result), options)
    raise NotRepaired(
        f"not repaired: {refusal}",
        [
            "Review the differences; --output FILE writes all of them. If they are right:",
            options.write_repair(plan_id),
        ],
    )


def _end(report: DriftReport, options: RepairOptions) -> NoReturn:
    _print_json(report, options)
    left = report.differences if report.remaining is None else report.remaining
    raise typer.Exit(1 if left else 0)


def _print_json(report: DriftReport, options: RepairOptions) -> None:
    if options.as_json:
        output.print_json(report.model_dump_json())
