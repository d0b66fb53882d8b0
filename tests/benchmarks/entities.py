"""Entities as the store gives them to the dispatcher, and requests as the relay sends them."""

import json
from collections.abc import Iterable
from typing import Any

import httpx

from app.domain.entities import (
    EntityKey,
    EntityRef,
    Kind,
    PendingEntity,
    RowText,
    Version,
    membership_key,
)
from app.domain.instants import Instant
from app.supabase.client import ApplyResult, SupabaseClient, open_http_client
from app.supabase.planning import plan_request
from app.supabase.targets import MINIMAL_TARGETS


def make_entity(kind: Kind, key: EntityKey, row: dict[str, str] | None) -> PendingEntity:
    """Make an entity that is pending; without a row it is to be deleted."""
    return PendingEntity(
        ref=EntityRef(kind, key),
        version=Version(Instant(0), row is None, 1),
        row=None if row is None else RowText(json.dumps(row)),
        revision=1,
        attempts=0,
        waiting_since=None,
        pending_since=Instant(0),
    )


def make_grant(trip_id: str, user_id: str) -> PendingEntity:
    """Make a membership that is to be upserted."""
    row = {"trip_id": trip_id, "user_id": user_id, "role": "MEMBER", "status": "ACTIVE"}
    return make_entity(Kind.MEMBERSHIP, membership_key(trip_id, user_id), row)


def make_revocation(trip_id: str, user_id: str) -> PendingEntity:
    """Make a membership that is to be deleted."""
    return make_entity(Kind.MEMBERSHIP, membership_key(trip_id, user_id), None)


async def send(
    entities: Iterable[PendingEntity], *, epoch: int = 1, sequence: int = 1
) -> httpx.Request:
    """Have the relay's client apply entities, and give its request."""
    requests: list[httpx.Request] = []
    document: dict[str, Any] = {"sequence": sequence, "failures": [], "not_tried": []}

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=document)

    async with open_http_client(
        "http://supabase.test", {}, timeout_seconds=5, transport=httpx.MockTransport(answer)
    ) as http:
        client = SupabaseClient(http, clock=lambda: 0.0)
        operations = plan_request(entities, MINIMAL_TARGETS)
        assert isinstance(
            await client.apply(epoch, sequence, operations, budget_ms=3000), ApplyResult
        )
    (request,) = requests
    return request
