"""`relay migrate` and `relay openapi`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.console import errors, output
from app.settings import StoreSettings, read_settings


def migrate(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Bring the store at STORE_URL to this version's schema; `relay serve` does so by itself.

    Example: [bold]STORE_URL=sqlite:///relay.db relay migrate[/]
    """
    # Here and not above: `relay send` need not wait for the database toolkit.
    from app.store.migrating import migrate_store

    before, after = migrate_store(read_settings(StoreSettings).store_url)
    if as_json:
        output.print_json(json.dumps({"before": before, "after": after}))
    elif before == after:
        output.print(f"The store is at revision {after} already.")
    else:
        output.print(f"Migrated the store from revision {before or 'none'} to {after}.")


def openapi(
    path: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: print it.")
    ] = None,
) -> None:
    """Print the OpenAPI document.

    Example: [bold]relay openapi --output openapi/openapi.json[/]
    """
    # Here and not above: `relay send` need not wait for the web framework.
    from app.main import create_api

    text = json.dumps(create_api().openapi(), indent=2) + "\n"
    if path is None:
        typer.echo(text, nl=False)
    else:
        path.write_text(text)
        errors.print(f"Wrote {path}.", style="dim")
