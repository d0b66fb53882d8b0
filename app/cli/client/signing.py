"""Making and signing events, as a backend does."""

import json
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from app.auth.signatures import sign
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings


def make_body(event_type: str, data: Mapping[str, str], timestamp: str | None = None) -> bytes:
    """Write the body of an event."""
    occurred_at = timestamp or datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event_type, "timestamp": occurred_at, "data": data}).encode()


def make_event_id() -> str:
    """Make a unique event id."""
    return f"evt_{uuid.uuid4().hex}"


def sign_body(
    secret: str, body: bytes, *, event_id: str | None = None, wait_seconds: int | None = None
) -> dict[str, str]:
    """Return the headers that identify, date and sign a body.

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


def find_secret() -> str:
    """Return the first shared secret of WEBHOOK_SECRETS.

    Raises:
        ConfigurationInvalid: there is none.
    """
    for secret in read_settings(SecretSettings).webhook_secrets:
        if secret.get_secret_value().startswith("whsec_"):
            return secret.get_secret_value()
    raise ConfigurationInvalid(
        "a secret is missing: set WEBHOOK_SECRETS to the relay's, or give --secret"
    )
