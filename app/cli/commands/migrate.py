"""`relay migrate`: migrate the store, or copy it."""

import json
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.cli.errors import CommandFailed, Misused
from app.cli.output.console import count, errors, output
from app.settings import StoreSettings, read_settings
from app.store.copying import CopyFailed, copy_store
from app.store.migrating import migrate_store


def migrate(
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STORE_URL", help="Copy this store; no relay may run on it."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="STORE_URL", help="Into this one, which must be empty."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Migrate the store to this version's schema, or copy it to another database.

    With --from and --to it copies a store, from SQLite to PostgreSQL or back, and
    compares the two row by row. After a kill the same command goes on; until it
    has ended well, no relay starts on the copy. A password need not be in the URL:
    PGPASSWORD and ~/.pgpass do. Exit code 0: done; 1: the copy is not equal; 2: one
    of the stores cannot be used.

    Examples:
      STORE_URL=sqlite:///relay.db relay migrate
      relay migrate --from sqlite:///relay.db --to postgresql://db.internal/relay
    """
    if source is not None and target is not None:
        _copy(source, target, as_json=as_json)
        return
    if source is not None or target is not None:
        raise Misused("--from and --to go together")

    before, after = migrate_store(read_settings(StoreSettings).store_url)
    if as_json:
        output.print_json(json.dumps({"before": before, "after": after}))
    elif before == after:
        output.print(f"The store is at revision {after} already.")
    else:
        output.print(f"Migrated the store from revision {before or 'none'} to {after}.")


def _copy(source: str, target: str, *, as_json: bool) -> None:

    bar = Progress(
        TextColumn("{task.description:9}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    rows = bar.add_task("", total=None)
    try:
        with bar:
            contents = copy_store(
                source,
                target,
                report=lambda what, done, total: bar.update(
                    rows, description=what, completed=done, total=total
                ),
            )
    except CopyFailed as error:
        raise CommandFailed(
            f"{error}. No relay starts on it; empty it, and begin anew with the source at rest"
        ) from error
    except KeyboardInterrupt as error:
        errors.print("Stopped; the same command goes on from there.")
        raise typer.Exit(130) from error
    if as_json:
        output.print_json(data={"rows": contents.rows, "digests": contents.digests})
        return
    output.print(
        f"Copied {count(contents.rows['events'], 'event')} and"
        f" {count(contents.rows['entities'], 'entity')}; both stores hold the same."
    )
    errors.print("Now set STORE_URL to the copy; the source is as it was.", style="dim")
