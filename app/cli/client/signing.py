"""Signing an event and posting it, as a backend does."""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from app.auth.signatures import sign

TIMEOUT_SECONDS = 35.0  # longer than the longest `Prefer: wait`


def make_body(event_type: str, data: Mapping[str, str], timestamp: str | None = None) -> bytes:
    """Write the body of an event that happened now, or at an RFC 3339 timestamp."""
    occurred_at = timestamp or datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event_type, "timestamp": occurred_at, "data": data}).encode()


def make_event_id() -> str:
    """Make an id that no other event has."""
    return f"evt_{uuid.uuid4().hex}"


def sign_body(
    secret: str, body: bytes, *, event_id: str | None = None, wait_seconds: int | None = None
) -> dict[str, str]:
    """Give the headers that carry a body: identity, time, signature.

    Raises:
        ConfigurationInvalid: the secret cannot sign.
    """
    now = int(time.time())
    webhook_id = event_id or make_event_id()
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, webhook_id=webhook_id, timestamp=now, body=body),
    }
    return headers if wait_seconds is None else headers | {"prefer": f"wait={wait_seconds}"}


def name_endpoint(relay_url: str) -> str:
    """Give the URL that events are posted to."""
    return f"{relay_url.rstrip('/')}/webhooks"
