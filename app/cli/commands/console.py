"""`relay console`: print a link that opens the console."""

from datetime import datetime
from typing import Annotated, Final

import typer
from pydantic import BaseModel

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.relay_client import open_relay
from app.cli.output.console import errors

_HOURS: Final = 1.0
_MAXIMUM_HOURS: Final = 24.0


class _Link(BaseModel):
    path: str
    expires_at: datetime


def console(
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Without the scope replay:write.")
    ] = False,
    hours: Annotated[
        float,
        typer.Option(
            "--hours",
            min=0.01,
            max=_MAXIMUM_HOURS,
            metavar="HOURS",
            help="How long the session lasts, with a token signed with JWT_SECRET.",
        ),
    ] = _HOURS,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Print a link that opens the console in a browser.

    The link works once, and for a minute. The session has the scopes of the
    token and ends with it. Without --token or RELAY_TOKEN, JWT_SECRET signs one.

    Examples:
      relay console
      relay console --url https://relay.example.com --read-only
    """
    scopes = (Scope.EVENTS_READ,) if read_only else (Scope.EVENTS_READ, Scope.REPLAY_WRITE)
    with open_relay(url, token, *scopes, token_seconds=round(hours * 3600)) as relay:
        link = relay.read(relay.post("/console/links"), _Link)
    typer.echo(f"{url.rstrip('/')}{link.path}")
    errors.print("Open it within a minute; it works once.", style="dim")
