"""Requests made and signed before the clock starts: distinct events, as a backend sends them."""

import base64
import hashlib
import hmac
import random
import time
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

SECRET = "whsec_" + base64.b64encode(b"a secret for benchmarks, 32 byte").decode()
_KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
_TRIPS = 1000


def make_uuid(source: random.Random) -> str:
    """Give a UUID as the contract writes it."""
    return str(uuid.UUID(int=source.getrandbits(128)))


def draw_memberships(count: int) -> Iterator[tuple[str, str]]:
    """Draw new memberships of random users in a thousand trips."""
    source = random.Random()  # noqa: S311
    trips = [make_uuid(source) for _ in range(_TRIPS)]
    return ((source.choice(trips), make_uuid(source)) for _ in range(count))


def make_requests(
    memberships: Iterable[tuple[str, str]], *, removal: bool = False, random_ids: bool = False
) -> list[bytes]:
    """Make a request for each membership: that it begins, or that it ends.

    A signature is good for five minutes. Ids grow, as docs/guides/integrate.md has the backend make
    them, or are random.
    """
    source = random.Random()  # noqa: S311
    write = _write_removal if removal else _write_grant
    make_id = _make_random_id if random_ids else _make_id
    return [
        _sign(b"/webhooks", make_id(source), b"{%b}" % write(*membership))
        for membership in memberships
    ]


def make_batches(memberships: Iterable[tuple[str, str]], size: int) -> list[bytes]:
    """Make requests with this many new memberships each."""
    source = random.Random()  # noqa: S311
    remaining = iter(memberships)
    requests = []
    while batch := list(islice(remaining, size)):
        events = b",".join(
            b'{"id":"%b",%b}' % (_make_id(source), _write_grant(*membership))
            for membership in batch
        )
        batch_id = b"bat_%032x" % source.getrandbits(128)
        requests.append(_sign(b"/webhooks/batch", batch_id, b'{"events":[%b]}' % events))
    return requests


def make_event_id(source: random.Random, at: float) -> str:
    """Return an id that grows with time (Unix seconds), like those of the backend's outbox."""
    return f"evt_{round(at * 1000):012x}{source.getrandbits(80):020x}"


def _make_id(source: random.Random) -> bytes:
    return make_event_id(source, time.time()).encode()


def _make_random_id(source: random.Random) -> bytes:
    return b"evt_%032x" % source.getrandbits(128)


def _write_grant(trip_id: str, user_id: str) -> bytes:
    return (
        b'"type":"membership.created","timestamp":"%b","data":{"trip_id":"%b","user_id":"%b",'
        b'"role":"MEMBER","status":"ACTIVE"}' % (_write_now(), trip_id.encode(), user_id.encode())
    )


def _write_removal(trip_id: str, user_id: str) -> bytes:
    return (
        b'"type":"membership.deleted","timestamp":"%b","data":{"trip_id":"%b","user_id":"%b"}'
        % (_write_now(), trip_id.encode(), user_id.encode())
    )


def _write_now() -> bytes:
    return datetime.now(UTC).isoformat().encode()


def _sign(path: bytes, event_id: bytes, body: bytes) -> bytes:
    sent_at = b"%d" % time.time()
    signature = base64.b64encode(
        hmac.digest(_KEY, b"%b.%b.%b" % (event_id, sent_at, body), hashlib.sha256)
    )
    return (
        b"POST %b HTTP/1.1\r\nHost: relay\r\nContent-Type: application/json\r\n"
        b"webhook-id: %b\r\nwebhook-timestamp: %b\r\nwebhook-signature: v1,%b\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path, event_id, sent_at, signature, len(body), body)
    )
