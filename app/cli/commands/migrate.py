"""`relay migrate`: migrate the store, or copy it."""

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from app.cli.errors import CommandFailed, UsageError
from app.cli.options import AsJson
from app.cli.output.console import errors, output
from app.cli.output.progress import make_progress
from app.domain.wording import count
from app.settings import StoreSettings, read_settings
from app.store.schema_upgrade import upgrade_store
from app.store.store_copy import CopyFailed, copy_store
from app.store.store_url import read_store_url


def migrate(
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STORE_URL", help="Copy this store, which no relay may use meanwhile."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--to", metavar="STORE_URL", help="Copy into this empty store."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Migrate the store to this version's schema, or copy it to another database.

    `relay serve` migrates the store by itself. With --from and --to, the command
    copies a store, from SQLite to PostgreSQL or back, and compares the two row by
    row. An interrupted copy leaves the target empty: run the same command again.
    PGPASSWORD and ~/.pgpass can replace the password in a URL.

    Examples:
      STORE_URL=sqlite:///relay.db relay migrate
      relay migrate --from sqlite:///relay.db --to postgresql://db.internal/relay
    """
    if source is not None and target is not None:
        _copy(source, target, as_json=as_json)
        return
    if source is not None or target is not None:
        raise UsageError("--from and --to go together")
    store_url = read_settings(StoreSettings).store_url
    before, after = upgrade_store(store_url)
    if as_json:
        output.print_json(data={"before": before, "after": after})
    elif before == after:
        output.print(f"The store {_name_store(store_url)} is already at revision {after}.")
    else:
        output.print(
            f"Migrated the store {_name_store(store_url)} from revision {before or 'none'} to"
            f" {after}."
        )


def _name_store(store_url: str) -> str:
    """Return a URL of the store without its password."""
    url = read_store_url(store_url)
    return url.set(drivername=url.get_backend_name(), query={}).render_as_string()


def _copy(source: str, target: str, *, as_json: bool) -> None:
    columns = (TextColumn("{task.description:9}"), BarColumn(), MofNCompleteColumn())
    bar = make_progress(*columns)
    rows = bar.add_task("", total=None)
    try:
        with bar:
            contents = copy_store(
                source,
                target,
                report=lambda table, done, total: bar.update(
                    rows, description=table, completed=done, total=total
                ),
            )
    except CopyFailed as error:
        raise CommandFailed(
            f"{error}. Nothing was copied: run the command again while no relay uses the source"
        ) from error
    except KeyboardInterrupt as error:
        errors.print("Stopped. Nothing was copied; run the same command again.")
        raise typer.Exit(130) from error
    if as_json:
        output.print_json(data={"rows": contents.rows, "digests": contents.digests})
        return
    output.print(
        f"Copied {count(contents.rows['events'], 'event')} and"
        f" {count(contents.rows['entities'], 'entity')} from {_name_store(source)} to"
        f" {_name_store(target)}; both hold the same."
    )
    errors.print("Now set STORE_URL to the copy; the source is unchanged.", style="dim")
