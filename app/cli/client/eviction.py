"""Evicting a user: removals of memberships, as the backend sends them, first in line."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import httpx

from app.cli.client.api_models import EventAnswer
from app.cli.client.batches import BatchSender
from app.cli.client.delivery import confirm_event, post
from app.cli.client.desired_state import EntityAnswer
from app.cli.client.ndjson import EventLine, gather_batches
from app.cli.client.relay_client import RelayClient
from app.cli.client.signing import WebhookSigner, make_event_id
from app.cli.errors import CommandFailed, Rejected
from app.domain import event_text
from app.domain.entities import EntityKey, EventStatus, membership_key, split_membership_key
from app.domain.instants import Instant, from_seconds, to_datetime

_SETTLED: Final = (EventStatus.APPLIED, EventStatus.SUPERSEDED, EventStatus.DEAD)
# `Prefer: wait` has whole seconds, at most 30.
_LONGEST_WAIT_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Removal:
    """The removal of one membership, as a `membership.deleted`.

    Attributes:
        body: of the event, when it is sent alone.
        was_removed: whether the relay desired no such membership before.
    """

    event_id: str
    key: EntityKey
    body: bytes
    was_removed: bool


@dataclass(frozen=True, slots=True)
class RemovalResult:
    """The result of a removal.

    Attributes:
        status: of the event.
        seconds: from sending until the status was known.
        reason: why Supabase does not hold the removal; None if it does.
    """

    removal: Removal
    status: str
    seconds: float
    reason: str | None

    @property
    def is_in_force(self) -> bool:
        """Whether Supabase holds the removal."""
        return self.status == EventStatus.APPLIED


def make_removals(
    memberships: Sequence[EntityAnswer], user_id: str, trip_id: str | None
) -> list[Removal]:
    """Make the removals of a user's memberships, or of that of one trip, known or not."""
    known = {each.key: each for each in memberships}
    if trip_id is None:
        keys = [each.key for each in memberships if not each.is_removed]
    else:
        keys = [membership_key(trip_id, user_id)]
    return [_make_removal(key, known.get(key)) for key in keys]


def _make_removal(key: EntityKey, known: EntityAnswer | None) -> Removal:
    trip_id, user_id = split_membership_key(key)
    # The backend's clock may be ahead. At the same instant, the removal wins.
    desired_at = Instant(0) if known is None else known.version_at
    occurred_at = to_datetime(max(from_seconds(time.time()), desired_at))
    event = {
        "type": "membership.deleted",
        "timestamp": occurred_at.isoformat().replace("+00:00", "Z"),
        "data": {"trip_id": trip_id, "user_id": user_id},
    }
    was_removed = known is not None and known.is_removed
    return Removal(make_event_id(), key, json.dumps(event).encode(), was_removed)


def send_removals(sender: BatchSender, removals: Sequence[Removal]) -> None:
    """Send removals; they are durable when this returns.

    Raises:
        CommandFailed: the relay rejects one, or was unavailable for too long. Some may be stored.
    """
    lines = [_make_line(number, each) for number, each in enumerate(removals, start=1)]
    for batch in gather_batches(lines):
        for result in sender.send(batch):
            if result.status not in ("accepted", "duplicate"):
                errors = [f"{each.pointer}: {each.detail}" for each in result.errors]
                raise Rejected(f"the relay rejects the event {result.line.event_id}", errors)


def _make_line(number: int, removal: Removal) -> EventLine:
    item = json.dumps({"id": removal.event_id, **json.loads(removal.body)}).encode()
    return EventLine(number, item, removal.event_id, item)


def await_removals(
    client: httpx.Client,
    signer: WebhookSigner,
    relay: RelayClient,
    removals: Sequence[Removal],
    *,
    sent_at: float,
    wait_seconds: int,
) -> Iterator[RemovalResult]:
    """Wait until Supabase holds the removals, all in all `wait_seconds`, and yield the results.

    Args:
        client: of the relay's webhooks.
        signer: of the webhooks.
        relay: needs the scope events:read.
        removals: that are stored.
        sent_at: by the monotonic clock.
        wait_seconds: from then on.
    """
    for removal in removals:
        left = sent_at + wait_seconds - time.monotonic()
        status, reason = "accepted", None
        try:
            if left > 0:
                status = _await_settled(client, signer, removal, left)
            if status != EventStatus.APPLIED:
                status, reason = _explain(relay, removal)
        except CommandFailed as error:
            reason = str(error)
        yield RemovalResult(removal, status, time.monotonic() - sent_at, reason)


def _await_settled(
    client: httpx.Client, signer: WebhookSigner, removal: Removal, seconds: float
) -> str:
    """Send a stored event again, which changes nothing, and wait until it is settled."""
    wait_seconds = min(math.ceil(seconds), _LONGEST_WAIT_SECONDS)
    headers = signer.sign(removal.body, event_id=removal.event_id, wait_seconds=wait_seconds)
    response = post(client, "/webhooks", content=removal.body, headers=headers)
    return str(confirm_event(response, removal.event_id)["status"])


def _explain(relay: RelayClient, removal: Removal) -> tuple[str, str | None]:
    """Return the status of a removal, and why Supabase does not hold it."""
    event = relay.read(relay.get_named("/events", "event_id", removal.event_id), EventAnswer)
    if event.status == EventStatus.APPLIED:
        return event.status, None
    reason = event.error or (None if event.status in _SETTLED else _find_obstacle(relay))
    entity = event.entity
    return event.status, reason or event_text.explain_event(
        event.status, entity.kind, entity.state, entity.last_error_code
    )


def _find_obstacle(relay: RelayClient) -> str | None:
    """Return the reason for which the relay writes nothing to Supabase, if there is one."""
    checks = relay.get_health()["checks"]
    reasons = (checks.get(name, {}).get("reason") for name in ("dispatcher", "supabase"))
    return next((str(reason) for reason in reasons if reason), None)
