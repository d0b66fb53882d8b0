"""`relay openapi`: print the OpenAPI document."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.api.routes import create_api
from app.cli.output.console import errors


def openapi(
    path: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the document here.")
    ] = None,
) -> None:
    """Print the OpenAPI document.

    Examples:
      relay openapi --output openapi/openapi.json
    """
    text = json.dumps(create_api().openapi(), indent=2) + "\n"
    if path is None:
        typer.echo(text, nl=False)
    else:
        path.write_text(text)
        errors.print(f"Wrote {path}.", style="dim")
