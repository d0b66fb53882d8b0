"""The `relay` command: every subcommand, and what they have in common."""

import sys
from collections.abc import Sequence

import typer

from app.cli.commands import (
    access,
    demo,
    doctor,
    events,
    keys,
    maintenance,
    replay,
    send,
    serve,
    sql,
)
from app.cli.errors import CommandFailed
from app.cli.output.console import complain, errors, tidy
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
app.command()(events.events)
app.command()(replay.replay)
app.command()(doctor.doctor)
app.command()(access.access)
app.command()(keys.token)
app.command()(keys.secret)
app.command()(sql.sql)
app.command()(maintenance.migrate)
app.command()(maintenance.openapi)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; whatever goes wrong is a sentence and an exit code.

    Args:
        arguments: those after the command's name; None for the process's own.
    """
    try:
        app(args=arguments)
    except ConfigurationInvalid as error:
        if len(error.sentences) == 1:
            complain("relay", error.sentences[0])
        else:
            complain("relay", "the configuration is invalid")
            for sentence in error.sentences:
                errors.print(f"  - {tidy(sentence)}", markup=False)
        sys.exit(2)
    except CommandFailed as error:
        complain("relay", str(error))
        for detail in error.details:
            errors.print(f"  {tidy(detail)}", markup=False)
        sys.exit(error.exit_code)
