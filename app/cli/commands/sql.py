"""`relay sql`: print the SQL for a Supabase project."""

from typing import Annotated

import typer

from app.supabase.migration_files import list_function_files, list_migrations


def sql(
    everything: Annotated[
        bool,
        typer.Option("--all", help="Print every migration, for a project that has no tables yet."),
    ] = False,
) -> None:
    """Print the SQL that a Supabase project must apply before the relay can write to it.

    Every project needs the functions that the relay writes through. Applying them
    again is harmless, and needed after an upgrade that changed them. With --all,
    the tables and policies come first: apply those only once.

    Examples:
      relay sql | psql -v ON_ERROR_STOP=1 "$SUPABASE_DB_URL"
    """
    for path in list_migrations() if everything else list_function_files():
        # Bytes: the files are UTF-8, and the terminal may have another encoding.
        typer.echo(f"-- supabase/migrations/{path.name}\n".encode() + path.read_bytes(), nl=False)
