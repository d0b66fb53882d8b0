"""Progress bars, on standard error if that is a terminal."""

from rich.progress import Progress, ProgressColumn

from app.cli.output.console import errors


def make_progress(*columns: ProgressColumn) -> Progress:
    """Make a bar that disappears at its end."""
    return Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
