"""The requests of the load are valid: 202 for a batch does not show it for each event."""

import time

from app.auth.signatures import SignatureVerifier
from app.domain.event_reader import EventReader
from app.domain.instants import from_seconds
from benchmarks.requests import SECRET, draw_memberships, make_batches, make_requests
from benchmarks.world import TRIPS, name_membership, name_memberships

VERIFIER = SignatureVerifier([SECRET], tolerance_seconds=300)
READER = EventReader(roles=("MEMBER",), statuses=("ACTIVE",))


def read(request: bytes) -> tuple[str, str, bytes]:
    """Give path, id and body of a request whose signature is good."""
    head, _, body = request.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    headers = dict(field.split(b": ", 1) for field in fields)
    assert int(headers[b"Content-Length"]) == len(body)
    failure = VERIFIER.verify(
        webhook_id=headers[b"webhook-id"],
        webhook_timestamp=headers[b"webhook-timestamp"],
        webhook_signature=headers[b"webhook-signature"],
        body=body,
        now=time.time(),
    )
    assert failure is None
    return line.split()[1].decode(), headers[b"webhook-id"].decode(), body


def test_request_of_one_event_is_signed_and_valid() -> None:
    memberships = [name_membership(number) for number in (0, TRIPS)]
    now = from_seconds(time.time())
    for removal in (False, True):
        for request, key in zip(
            make_requests(memberships, removal=removal),
            (name_memberships(number, 1)[0] for number in (0, TRIPS)),
            strict=True,
        ):
            path, event_id, body = read(request)
            event = READER.read_event(event_id, body, now=now)
            assert (path, event.key, event.is_removal) == ("/webhooks", key, removal)


def test_batches_are_signed_and_all_of_their_events_valid_and_distinct() -> None:
    requests = make_batches(draw_memberships(25), 10)

    items = []
    for request in requests:
        path, _, body = read(request)
        assert path == "/webhooks/batch"
        items.append(READER.read_batch(body, now=from_seconds(time.time())))

    assert [len(batch) for batch in items] == [10, 10, 5]
    assert all(item.event is not None for batch in items for item in batch)
    assert len({item.event_id for batch in items for item in batch}) == 25
