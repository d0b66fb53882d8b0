"""`relay demo`: show the point, then serve."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from rich.table import Table

from app.cli.client.relay_client import TIMEOUT_SECONDS
from app.cli.errors import CommandFailed
from app.cli.output.console import errors, output
from app.demo.demonstration import Demonstration, DemonstrationFailed, run_relay
from app.demo.local_supabase import run_local_supabase
from app.demo.node import LocalSupabaseError
from app.observability.logging import configure_logging
from app.store.private_files import open_private

_PORT: Final = 8080
_ENVIRONMENT: Final = Path(".local/demo.env")
_INVITATION: Final = f"""
The relay and Supabase are running. Try them from a second terminal, in this folder:

  source {_ENVIRONMENT}
  relay doctor
  relay status
  relay events
  relay access --user $USER_ID --trip $TRIP_ID
  relay send membership.created trip_id=$TRIP_ID user_id=$USER_ID role=MEMBER status=ACTIVE --wait 5
  relay access --user $USER_ID --trip $TRIP_ID
  relay replay --all

Press Ctrl-C to stop both.
"""


def demo(
    once: Annotated[
        bool, typer.Option("--once", envvar="ONCE", help="Stop after the demonstration.")
    ] = False,
    port: Annotated[
        int,
        typer.Option("--port", metavar="PORT", help="The port of the relay, if free."),
    ] = _PORT,
) -> None:
    """Start a local Supabase and the relay, show the point, then serve until Ctrl-C.

    While it serves, .local/demo.env holds what the other commands need.

    Examples:
      relay demo --once
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    configure_logging(level="WARNING", format_name="text")
    try:
        with ExitStack() as stack:
            supabase = stack.enter_context(run_local_supabase(report=_report))
            relay = stack.enter_context(run_relay(supabase, port))
            _report(f"The relay listens on {relay.url}, Supabase on {supabase.url}.")
            # A proxy of this machine is not for its own addresses.
            client = httpx.Client(trust_env=False, timeout=TIMEOUT_SECONDS)
            demonstration = Demonstration(supabase, relay, stack.enter_context(client))
            _show(demonstration)
            if not once:
                stack.enter_context(_written_environment(demonstration))
                output.print(_INVITATION, markup=False, end="")
                signal.pause()
    except (LocalSupabaseError, DemonstrationFailed) as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        _report("Stopped.")


def _report(sentence: str) -> None:
    errors.print(sentence, style="dim")


def _show(demonstration: Demonstration) -> None:
    table = Table(title="What the user reads in the chat of the trip", title_justify="left")
    for column in ("after", "the user reads", "took effect in"):
        table.add_column(column)
    for step in demonstration.run():
        read = ", ".join(f"“{message}”" for message in step.messages)
        table.add_row(
            step.event_type or "no membership",
            f"[green]{read}[/]" if read else "[red]nothing[/]",
            f"{step.milliseconds:.0f} ms" if step.event_type else "",
        )
    output.print(table)


@contextmanager
def _written_environment(demonstration: Demonstration) -> Iterator[None]:
    """Keep a file, for the owner only, that a shell can source; remove it at the end."""
    supabase, relay = demonstration.supabase, demonstration.relay
    variables = {
        "RELAY_URL": relay.url,
        "WEBHOOK_SECRETS": relay.webhook_secret,
        "JWT_SECRET": relay.jwt_secret,
        "STORE_URL": relay.store_url,
        "SUPABASE_URL": supabase.url,
        "SUPABASE_SECRET_KEY": supabase.secret_key,
        "SUPABASE_PUBLISHABLE_KEY": supabase.publishable_key,
        "SUPABASE_JWT_SECRET": supabase.jwt_secret,
        "USER_ID": demonstration.user_id,
        "TRIP_ID": demonstration.trip_id,
    }
    programs = shlex.quote(str(Path(sys.executable).parent))
    lines = [f"export {name}='{value}'\n" for name, value in variables.items()]
    lines.append(f'export PATH={programs}:"$PATH"\n')
    _ENVIRONMENT.parent.mkdir(exist_ok=True)
    # One that a killed demo left may have another mode.
    _ENVIRONMENT.unlink(missing_ok=True)
    with open_private(_ENVIRONMENT, "wb") as file:
        file.write("".join(lines).encode())
    try:
        yield
    finally:
        _ENVIRONMENT.unlink(missing_ok=True)
