"""Send one signed event to the relay, with the standard library only.

Example:
    RELAY_URL=http://127.0.0.1:8080 RELAY_WEBHOOK_SECRET=whsec_… python send_event.py \
        user.created id=123e4567-e89b-12d3-a456-426614174000 email=ana@example.com username=ana
"""

import base64
import hmac
import json
import os
import random
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException

ATTEMPTS = 4


# region: sign
def sign(secret: str, event_id: str, sent_at: int, body: bytes) -> str:
    """Return the webhook-signature header (Standard Webhooks 1.0.0, v1)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{event_id}.{sent_at}.".encode() + body, "sha256")
    return "v1," + base64.b64encode(digest).decode()


# endregion


class NotConfirmed(Exception):
    """The response was a success for something else; the event may be stored or not."""


def send(url: str, secret: str, event_type: str, data: Mapping[str, str]) -> str:
    """Post one event until the relay confirms it: accepted or duplicate."""
    event_id = f"evt_{uuid.uuid4().hex}"  # a retry sends the same id and the same body
    occurred_at = datetime.now(UTC).isoformat()  # in a backend: the database's clock
    body = json.dumps({"type": event_type, "timestamp": occurred_at, "data": data}).encode()
    for attempt in range(ATTEMPTS):
        try:
            return post_once(url, secret, event_id, body)
        except (OSError, HTTPException, NotConfirmed) as error:
            is_final = isinstance(error, urllib.error.HTTPError) and not may_retry(error.code)
            if is_final or attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.2 * 2**attempt))  # noqa: S311 - jitter
    raise AssertionError("the last attempt returns or raises")


def may_retry(status: int) -> bool:
    """Return whether a later attempt can succeed."""
    return status in (408, 429) or status >= 500


def post_once(url: str, secret: str, event_id: str, body: bytes) -> str:
    """Post one event once, on its own connection, and check that the response names it."""
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
        status, content = response.status, response.read()
    match read_json(content):
        case {"event_id": str(named), "status": "accepted" | "duplicate" as receipt} if (
            status in (200, 202) and named == event_id
        ):
            return str(receipt)
    raise NotConfirmed(
        f"event {event_id} is not confirmed: {url} answered {status} {content[:200]!r},"
        " where the relay would name the event; check the URL and every proxy before the relay"
    )


def read_json(content: bytes) -> object:
    """Parse JSON; None for anything else."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def main() -> None:
    """Send the event of the command line; exit with 1 and the reason if it is not delivered."""
    event_type, *fields = sys.argv[1:]
    data = dict(field.split("=", 1) for field in fields)
    try:
        status = send(os.environ["RELAY_URL"], os.environ["RELAY_WEBHOOK_SECRET"], event_type, data)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")
    except (OSError, HTTPException, NotConfirmed) as error:
        sys.exit(f"not delivered: {error}")
    sys.stdout.write(f"{status}\n")


if __name__ == "__main__":
    main()
