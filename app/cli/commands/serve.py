"""`relay serve`."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on, before HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, before PORT.")] = None,
) -> None:
    """Run the relay until SIGTERM or Ctrl-C.

    Settings come from the environment and from .env; .env.example explains each.

    Example: [bold]relay serve --port 8080[/]
    """
    # Here and not above: no other command need wait for what only a server needs.
    from app.cli.commands.server import run_server

    run_server(host=host, port=port)
