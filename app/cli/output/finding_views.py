"""Print the findings of `relay doctor`."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from textwrap import indent, wrap
from typing import Final

from rich.text import Text

from app.cli.output.console import output
from app.doctor.findings import Finding, Fix, Status
from app.domain.wording import count

_STYLES: Final = {Status.OK: "green", Status.SKIPPED: "yellow", Status.PROBLEM: "bold red"}


def show_findings(findings: Sequence[Finding]) -> None:
    """Print the findings, problems last; those with the same fix share it."""
    for finding in findings:
        if finding.status is Status.OK:
            _print_paragraph(finding.what, finding.status)
    for status in (Status.SKIPPED, Status.PROBLEM):
        groups: dict[Fix | None, list[Finding]] = {}
        for finding in findings:
            if finding.status is status:
                groups.setdefault(finding.fix, []).append(finding)
        for fix, members in groups.items():
            output.print()
            by_reason = attrgetter("why")
            for why, alike in groupby(sorted(members, key=by_reason), key=by_reason):
                for finding in alike:
                    _print_paragraph(finding.what, status)
                _print_paragraph(why)
            if fix is not None:
                name = fix.kind.upper() if fix.kind == "sql" else fix.kind
                output.print(f"  Fix ({name}):", style="bold")
                # Never wrapped, so that it can be pasted.
                output.print(Text(indent(fix.text, "    "), "cyan"))
    counts = Counter(finding.status for finding in findings)
    output.print()
    problems = count(counts[Status.PROBLEM], "problem")
    output.print(f"{problems}, {counts[Status.SKIPPED]} skipped, {counts[Status.OK]} ok")


def _print_paragraph(text: str, status: Status | None = None) -> None:
    """Print wrapped and indented lines on a terminal, one line elsewhere."""
    first = "  " if status is None else f"{status}: "
    lines = [f"{first}{text}"]
    if output.is_terminal:
        lines = wrap(lines[0], output.width, subsequent_indent="  ")
    for number, line in enumerate(lines):
        printed = Text(line)
        if status is not None and number == 0:
            printed.stylize(_STYLES[status], 0, len(first))
        output.print(printed)
