"""How findings look at a terminal and in a pipe."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from textwrap import indent, wrap
from typing import Final

from rich.text import Text

from app.cli.output.console import output
from app.doctor.findings import Finding, Fix, FixKind, Verdict

_TITLES: Final = {FixKind.SQL: "SQL", FixKind.SETTING: "setting", FixKind.COMMAND: "command"}
_MARKS: Final = {
    Verdict.FINE: ("green", "ok"),
    Verdict.UNCHECKED: ("yellow", "could not check"),
    Verdict.PROBLEM: ("bold red", "problem"),
}
_SUMMARY: Final = {
    Verdict.FINE: "ok",
    Verdict.UNCHECKED: "could not be checked",
    Verdict.PROBLEM: "to put right",
}


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what is fine first: what matters stands last, where the eye is.

    Findings that share their fix share it on the screen.
    """
    for finding in findings:
        if finding.verdict is Verdict.FINE:
            _print_paragraph(finding.what, finding.verdict)
    for verdict in (Verdict.UNCHECKED, Verdict.PROBLEM):
        groups: dict[Fix | None, list[Finding]] = {}
        for finding in findings:
            if finding.verdict is verdict:
                groups.setdefault(finding.fix, []).append(finding)
        for fix, members in groups.items():
            output.print()
            by_reason = attrgetter("why")
            for why, alike in groupby(sorted(members, key=by_reason), key=by_reason):
                for finding in alike:
                    _print_paragraph(finding.what, verdict)
                _print_paragraph(why)
            if fix is not None:
                output.print(f"  Fix ({_TITLES[fix.kind]}):", style="bold")
                # Never wrapped: it is there to be pasted.
                output.print(Text(indent(fix.text, "    "), "cyan"))
    counts = Counter(finding.verdict for finding in findings)
    output.print()
    output.print(
        ", ".join(
            f"[{_MARKS[verdict][0] if counts[verdict] else 'dim'}]"
            f"{counts[verdict]} {_SUMMARY[verdict]}[/]"
            for verdict in (Verdict.PROBLEM, Verdict.UNCHECKED, Verdict.FINE)
        )
    )


def _print_paragraph(text: str, verdict: Verdict | None = None) -> None:
    """Print wrapped lines with an indent for people, one line for a file or another program."""
    style, mark = ("", "  ") if verdict is None else _MARKS[verdict]
    first = f"{mark}: " if mark.strip() else mark
    lines = [f"{first}{text}"]
    if output.is_terminal:
        lines = wrap(lines[0], output.width, subsequent_indent="  ")
    for number, line in enumerate(lines):
        printed = Text(line)
        if number == 0:
            printed.stylize(style, 0, len(first))
        output.print(printed)
