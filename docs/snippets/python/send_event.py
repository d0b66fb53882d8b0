"""Send one signed event to the relay, with nothing but the standard library.

Example:
    RELAY_URL=http://127.0.0.1:8080 RELAY_WEBHOOK_SECRET=whsec_… python send_event.py \
        user.created id=123e4567-e89b-12d3-a456-426614174000 email=ana@example.com username=ana
"""

# region: send
import base64
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime


def sign(secret: str, event_id: str, sent_at: int, body: bytes) -> str:
    """Give the webhook-signature header (Standard Webhooks 1.0.0, v1)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{event_id}.{sent_at}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


def send(url: str, secret: str, event_type: str, data: Mapping[str, str]) -> str:
    """Post one event once and give the relay's answer: accepted or duplicate."""
    event_id = f"evt_{uuid.uuid4().hex}"  # a retry sends the same id and the same body
    occurred_at = datetime.now(UTC).isoformat()  # in a backend: the database's clock
    body = json.dumps({"type": event_type, "timestamp": occurred_at, "data": data}).encode()
    sent_at = int(time.time())
    request = urllib.request.Request(  # noqa: S310 - the URL is the operator's
        f"{url}/webhooks",
        data=body,
        headers={
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(sent_at),
            "webhook-signature": sign(secret, event_id, sent_at, body),
        },
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(json.load(response)["status"])


# endregion


def main() -> None:
    """Send what the command line says; exit code 1 with the relay's problem if it refuses."""
    event_type, *fields = sys.argv[1:]
    data = dict(field.split("=", 1) for field in fields)
    try:
        status = send(os.environ["RELAY_URL"], os.environ["RELAY_WEBHOOK_SECRET"], event_type, data)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")
    sys.stdout.write(f"{status}\n")


if __name__ == "__main__":
    main()
