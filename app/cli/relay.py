"""The `relay` command: every subcommand, and what they have in common."""

import sys

import typer

from app.cli import demo, keys, maintenance, send, serve
from app.cli.console import errors
from app.domain.errors import ConfigurationInvalid

app = typer.Typer(
    name="relay",
    help="Brings Supabase's permission tables to the state that a backend's change events"
    " describe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)
app.command()(serve.serve)
app.command()(demo.demo)
app.command()(send.send)
app.command()(keys.token)
app.command()(keys.secret)
app.command()(maintenance.migrate)
app.command()(maintenance.openapi)


def main() -> None:
    """Run the command; what cannot be configured is one sentence and exit code 2."""
    try:
        app()
    except ConfigurationInvalid as error:
        errors.print(f"[bold red]relay:[/] {error}", highlight=False)
        sys.exit(2)
