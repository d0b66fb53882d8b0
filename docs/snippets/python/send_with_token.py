"""Send one event to the relay with a JWT (HS256), with the standard library only.

Example:
    RELAY_URL=http://127.0.0.1:8080 JWT_SECRET=… python send_with_token.py \
        user.deleted id=123e4567-e89b-12d3-a456-426614174000
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime


def make_token(secret: str, event_id: str, body: bytes) -> str:
    """Return a JWT for this id and body, valid for a minute."""
    header = {"alg": "HS256", "typ": "JWT"}
    claims = {
        "sub": "backend",
        "scope": "webhooks:write",
        "exp": int(time.time()) + 60,
        "request_body_sha256": hashlib.sha256(body).hexdigest(),
        "webhook_id": event_id,
    }
    signed = b".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    return (signed + b"." + encode(hmac.digest(secret.encode(), signed, "sha256"))).decode()


def encode(part: bytes) -> bytes:
    """Encode a part of a JWT: base64url without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def send(url: str, secret: str, event_id: str, body: bytes) -> str:
    """Post one event once; return accepted or duplicate."""
    request = urllib.request.Request(  # noqa: S310 - the URL is the operator's
        f"{url}/webhooks",
        data=body,
        headers={
            "Content-Type": "application/json",
            "webhook-id": event_id,
            "Authorization": f"Bearer {make_token(secret, event_id, body)}",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return str(json.load(response)["status"])


def main() -> None:
    """Send the event of the command line; exit with 1 and the problem if the relay refuses it."""
    event_type, *fields = sys.argv[1:]
    data = dict(field.split("=", 1) for field in fields)
    occurred_at = datetime.now(UTC).isoformat()
    body = json.dumps({"type": event_type, "timestamp": occurred_at, "data": data}).encode()
    event_id = f"evt_{uuid.uuid4().hex}"
    try:
        status = send(os.environ["RELAY_URL"], os.environ["JWT_SECRET"], event_id, body)
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")
    sys.stdout.write(f"{status}\n")


if __name__ == "__main__":
    main()
