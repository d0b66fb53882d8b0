"""`relay demo`."""

from typing import Annotated, Final

import typer

from app.demo.demonstration import run_demonstration

_PORT: Final = 8080


def demo(
    once: Annotated[
        bool, typer.Option("--once", envvar="ONCE", help="End after the proof, with exit code 0.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port for the relay; if taken, a free one.")] = _PORT,
) -> None:
    """Start a local Supabase and the relay, show the point, then serve until Ctrl-C.

    Examples:
      relay demo --once
    """
    run_demonstration(once=once, port=port)
