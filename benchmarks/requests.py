"""Requests made and signed before the clock starts: distinct events, as a backend sends them."""

import base64
import hashlib
import hmac
import random
import time
import uuid
from datetime import UTC, datetime

SECRET = "whsec_" + base64.b64encode(b"a secret for benchmarks, 32 byte").decode()
_KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
_TRIPS = 1000


def make_requests(count: int) -> list[bytes]:
    """Make so many new memberships of random users in a thousand trips, a request each.

    A signature is good for five minutes.
    """
    source = random.Random()  # noqa: S311
    trips = [make_uuid(source) for _ in range(_TRIPS)]
    return [_make_request(source, source.choice(trips)) for _ in range(count)]


def make_uuid(source: random.Random) -> str:
    """Give a UUID as the contract writes it."""
    return str(uuid.UUID(int=source.getrandbits(128)))


def _make_request(source: random.Random, trip_id: str) -> bytes:
    body = (
        b'{"type":"membership.created","timestamp":"%b","data":{"trip_id":"%b","user_id":"%b",'
        b'"role":"MEMBER","status":"ACTIVE"}}'
        % (datetime.now(UTC).isoformat().encode(), trip_id.encode(), make_uuid(source).encode())
    )
    event_id = b"evt_%032x" % source.getrandbits(128)
    sent_at = b"%d" % time.time()
    signature = base64.b64encode(
        hmac.digest(_KEY, b"%b.%b.%b" % (event_id, sent_at, body), hashlib.sha256)
    )
    return (
        b"POST /webhooks HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
        b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: v1,%b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (event_id, sent_at, signature, len(body), body)
    )
