"""`relay evict`: remove a user's access now, without waiting for the backend."""

import sys
import time
import uuid
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from app.auth.claims import Scope
from app.cli import options
from app.cli.client.batches import BatchSender
from app.cli.client.desired_state import read_entities
from app.cli.client.eviction import (
    Removal,
    RemovalResult,
    await_removals,
    make_removals,
    send_removals,
)
from app.cli.client.relay_client import RelayClient, open_client, open_relay
from app.cli.client.signing import WebhookSigner, make_signer
from app.cli.errors import CommandFailed, Rejected, UsageError
from app.cli.output.console import errors, report_wait, sanitize
from app.cli.output.eviction_views import show_results
from app.domain.entities import Kind, split_membership_key
from app.domain.wording import count

_PATIENCE_SECONDS: Final = 60.0  # longer than a restart of the relay


def evict(
    user: Annotated[uuid.UUID, typer.Option(metavar="ID", help="The user's id.")],
    trip: Annotated[
        uuid.UUID | None,
        typer.Option(metavar="ID", help="Only this trip; default: all trips of the user."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    wait: Annotated[
        int,
        typer.Option(min=1, max=30, metavar="SECONDS", help="How long to wait for Supabase."),
    ] = 10,
    as_json: options.AsJson = False,
    url: options.Url = options.DEFAULT_URL,
    token: options.Token = None,
) -> None:
    """Remove a user's access to one trip or to all, now.

    Sends a signed membership.deleted for each membership, as the backend does,
    and waits until Supabase holds it. The relay writes revocations before
    anything else. Signs with WEBHOOK_SECRETS and JWT_SECRET, as far as they are
    set, and needs the scope events:read.

    Remove the member in the backend too: as long as the backend has the
    membership, its next event gives access again.

    Exit code 0: in force in Supabase; 1: pending, or rejected by Supabase; 2:
    could not be sent, or there is nothing to remove.

    Examples:
      relay evict --user $USER_ID --trip $TRIP_ID
      relay evict --user $USER_ID --yes
    """
    try:
        signer = make_signer()
        with open_relay(url, token, Scope.EVENTS_READ) as relay:
            removals = _find_removals(relay, str(user), None if trip is None else str(trip))
            if not yes:
                _confirm(removals, str(user))
            results = _evict(relay, url, signer, removals, wait)
    except CommandFailed as error:
        error.exit_code = 2
        raise
    show_results(results, str(user), as_json=as_json)
    raise typer.Exit(0 if all(each.is_in_force for each in results) else 1)


def _find_removals(relay: RelayClient, user_id: str, trip_id: str | None) -> list[Removal]:
    memberships = list(
        read_entities(relay, Kind.MEMBERSHIP, user_id=user_id, report_wait=report_wait)
    )
    removals = make_removals(memberships, user_id, trip_id)
    if not removals:
        raise Rejected(
            f"the relay has no membership of user {user_id}",
            [
                "Check the id. If Supabase alone has a membership, name its trip: --trip TRIP_ID",
            ],
        )
    return removals


def _confirm(removals: Sequence[Removal], user_id: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("an eviction needs confirmation: add --yes")
    errors.print(f"User {user_id} loses {count(len(removals), 'membership')}:", markup=False)
    for removal in removals:
        errors.print(f"  trip {sanitize(split_membership_key(removal.key)[0])}", markup=False)
    if not typer.confirm("Evict?", err=True):
        errors.print("Nobody is evicted.")
        raise typer.Exit(2)


def _evict(
    relay: RelayClient,
    url: str,
    signer: WebhookSigner,
    removals: Sequence[Removal],
    wait_seconds: int,
) -> list[RemovalResult]:
    with open_client(url) as client:
        sent_at = time.monotonic()
        send_removals(BatchSender(client, signer, _PATIENCE_SECONDS, report_wait), removals)
        return list(
            await_removals(
                client, signer, relay, removals, sent_at=sent_at, wait_seconds=wait_seconds
            )
        )
