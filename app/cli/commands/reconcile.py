"""`relay reconcile`: find drift, and repair it."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.batches import BatchSender
from app.cli.client.relay_client import open_client, open_relay
from app.cli.client.signing import make_signer
from app.cli.client.supabase_check import SupabaseReconciliation
from app.cli.commands.reconciliation import RepairOptions, reconcile_sides
from app.cli.errors import CommandFailed, NotRepaired, UsageError
from app.cli.output.console import errors, report_wait
from app.cli.output.drift_views import SOURCE, SUPABASE
from app.cli.source.reconciliation import SourceReconciliation
from app.cli.source.source import Source
from app.domain.drift import count_allowed_removals
from app.settings import MembershipSettings, read_settings

_PATIENCE_SECONDS: Final = 60.0  # longer than a restart of the relay


def _check_limit(text: str | None) -> str | None:
    try:
        count_allowed_removals(text, 0)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from error
    return text


def reconcile(
    source_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare the relay with a snapshot of the backend."),
    ] = None,
    source_db_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Compare the relay with the backend's PostgreSQL."),
    ] = None,
    source_queries: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --source-db-url: queries for another schema."),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help="With --source-db-url: how long to wait until the outbox is sent.",
        ),
    ] = 60.0,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what differs.")] = False,
    max_removals: Annotated[
        str | None,
        typer.Option(
            callback=_check_limit,
            metavar="N|P%",
            help="With --repair: remove at most so many rows; default: the smaller of 10 and 1%.",
        ),
    ] = None,
    approve: Annotated[
        str | None,
        typer.Option(
            metavar="PLAN_ID",
            help="With --repair: repair exactly this plan, however many rows it removes.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write every difference here, as one JSON line each."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one report as JSON.")] = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Find rows that differ from what they should be, and repair them.

    Without a source, the relay compares Supabase with its desired state. With
    one, the command compares the desired state with the backend; a repair sends
    signed events as of the snapshot, so that a later change always wins. Nothing
    changes without --repair. Needs the scope events:read, to repair Supabase
    also replay:write. The exit code is 0 if nothing differs at the end, 1 if
    something does, and 2 if the check was not possible.

    Examples:
      relay reconcile --repair
      relay reconcile --source-file snapshot.ndjson --output differences.ndjson
    """
    source = _read_source(source_file, source_db_url, source_queries, wait)
    command = _write_command(source, url)
    chosen = RepairOptions(command, repair, max_removals, approve, yes, output, as_json)
    chosen.check()
    try:
        if source is None:
            _reconcile_supabase(chosen, url, token)
        else:
            _reconcile_source(source, chosen, url, token)
    except CommandFailed as error:
        if not isinstance(error, NotRepaired):
            error.exit_code = 2
        raise


def _read_source(
    file: Path | None, db_url: str | None, queries: Path | None, wait: float
) -> Source | None:
    if file is not None and db_url is not None:
        raise UsageError("--source-file and --source-db-url go without each other")
    if queries is not None and db_url is None:
        raise UsageError("--source-queries goes with --source-db-url")
    if file is None and db_url is None:
        return None
    return Source(file, db_url, queries, wait)


def _reconcile_supabase(chosen: RepairOptions, url: str, token: str | None) -> None:
    scopes = [Scope.EVENTS_READ, *([Scope.REPLAY_WRITE] if chosen.repair else [])]
    with open_relay(url, token, *scopes) as relay:
        sides = SupabaseReconciliation(relay, report_wait=report_wait, report_step=_report_step)
        reconcile_sides(sides, chosen, SUPABASE)


def _reconcile_source(source: Source, chosen: RepairOptions, url: str, token: str | None) -> None:
    with ExitStack() as stack:
        sender = None
        if chosen.repair:
            client = stack.enter_context(open_client(url))
            sender = BatchSender(client, make_signer(), _PATIENCE_SECONDS, report_wait)
        sides = SourceReconciliation(
            source,
            stack.enter_context(open_relay(url, token, Scope.EVENTS_READ)),
            sender,
            read_settings(MembershipSettings),
            report_wait=report_wait,
            report_step=_report_step,
            report_note=_report_note,
        )
        reconcile_sides(stack.enter_context(sides), chosen, SOURCE)


def _report_step(step: str) -> None:
    if errors.is_terminal:
        errors.print(step, style="dim", markup=False)


def _report_note(note: str) -> None:
    errors.print(note, style="yellow", markup=False)


def _write_command(source: Source | None, url: str) -> list[str]:
    """Return the words that compare the same sides again."""
    words = ["relay", "reconcile", *(source.write_options() if source is not None else ())]
    is_default = url == os.environ.get("RELAY_URL", options.DEFAULT_URL).rstrip("/")
    return words if is_default else [*words, "--url", url]
