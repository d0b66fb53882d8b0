"""The `relay` command: its subcommands, and how an error ends it."""

import gc
import inspect
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from app.cli.errors import CommandFailed
from app.cli.output.console import print_error
from app.domain.errors import ConfigurationInvalid

COMMANDS: Final = {
    "serve": "Run the relay until SIGTERM or Ctrl-C.",
    "demo": "Start a local Supabase and the relay, show the point, then serve until Ctrl-C.",
    "send": "Sign one event and post it, or a whole file of them.",
    "events": "List received events and what became of them, or show one.",
    "exposure": "Measure how long revoked memberships still gave access in Supabase.",
    "evict": "Remove a user's access to one trip or to all, now.",
    "replay": "Re-sync the entities of matching events with Supabase.",
    "reconcile": "Find rows that differ from what they should be, and repair them.",
    "console": "Print a link that opens the console in a browser.",
    "status": "Show the state of the relay on one screen.",
    "healthcheck": "Ask the relay of this container whether it accepts events.",
    "doctor": "Check the settings, the store and Supabase, and say how to fix what is wrong.",
    "access": "Explain why a user can or cannot read a trip, and join its Realtime topics.",
    "token": "Sign a token with JWT_SECRET for operators, or for one webhook.",
    "secret": "Generate a secret and say where it goes.",
    "sql": "Print the SQL that a Supabase project must apply before the relay can write to it.",
    "migrate": "Migrate the store to this version's schema, or copy it to another database.",
    "openapi": "Print the OpenAPI document.",
}


class _LazyGroup(TyperGroup):
    """Lists the subcommands without importing them; the module of the one that runs is imported.

    The modules import httpx, FastAPI or SQLAlchemy, which take longer than `relay --help` may.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {
            name: TyperCommand(name, short_help=summary) for name, summary in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and import_command(args[0]), rest


def import_command(name: str) -> Any:
    """Import a subcommand, and give it as a click command."""
    # Imports leave no garbage: to collect during them takes a fifth of their time.
    gc.disable()
    try:
        module = import_module(f"app.cli.commands.{name}")
    finally:
        gc.enable()
    function = getattr(module, name)
    # After \b, click keeps the lines of a paragraph instead of wrapping it.
    text = (inspect.getdoc(function) or "").replace("\nExamples:\n", "\n\b\nExamples:\n")
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name, help=text)(function)
    return typer.main.get_command(single)


app = typer.Typer(
    name="relay",
    cls=_LazyGroup,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"relay {version('supabase-sync-relay')}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog="""\b
    Exit codes:
      0  done
      1  rejected, or not found
      2  usage error, or an invalid setting
      3  relay unreachable
      4  not finished in time""",
)
def _describe_command(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Relay change events from a backend to the permission tables of Supabase."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an error is a sentence and an exit code."""
    try:
        sys.exit(app(args=arguments, prog_name="relay", standalone_mode=False))
    except typer.TyperException as error:
        print_error(*_describe_usage_error(error))
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(1)
    except ConfigurationInvalid as error:
        if len(error.sentences) == 1:
            print_error(error.sentences[0])
        else:
            print_error("the configuration is invalid", [f"- {each}" for each in error.sentences])
        sys.exit(2)
    except CommandFailed as error:
        print_error(str(error), error.details)
        sys.exit(error.exit_code)


def _describe_usage_error(error: typer.TyperException) -> tuple[str, list[str]]:
    sentence, context = error.format_message(), getattr(error, "ctx", None)
    # click names the first missing option only, by an error without a message.
    if isinstance(error, typer.BadParameter) and not error.message and context is not None:
        missing = [
            parameter.opts[0]
            for parameter in context.command.params
            if parameter.required and parameter.name not in context.params
        ]
        sentence = f"missing {' and '.join(missing)}"
    hints = [] if context is None else [f"{context.command_path} --help explains every option."]
    return sentence[:1].lower() + sentence[1:], hints
