"""The recorder reads what the relay really sends."""

import json
from typing import Any

import pytest

from app.domain.entities import EntityKey, Kind, PendingEntity
from benchmarks.recorder import LINE_BYTES, Message, read_memberships, write_lines
from tests.benchmarks.entities import make_entity, make_grant, make_revocation, send

TRIP = "00000000-0000-0000-0000-000000000009"
USERS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]
KEYS = [f"{TRIP}/{user}" for user in USERS]


async def make_request(*entities: PendingEntity) -> Message:
    request = await send(entities)
    head = b"%b %b HTTP/1.1\r\nHost: a" % (request.method.encode(), request.url.raw_path)
    return Message(head, request.content)


def record(request: Message, status: int = 200, answer: dict[str, Any] | None = None) -> str:
    document = {"sequence": 1, "failures": [], "not_tried": []} | (answer or {})
    message = Message(b"HTTP/1.1 %d OK" % status, json.dumps(document).encode())
    return write_lines(read_memberships(request), message, 12.5).decode()


async def test_request_gives_a_line_of_each_membership_and_of_nothing_else() -> None:
    user = make_entity(
        Kind.USER, EntityKey(USERS[0]), {"id": USERS[0], "email": "a@b.example", "username": "a"}
    )
    memberships = make_grant(TRIP, USERS[1]), make_revocation(TRIP, USERS[2])

    lines = record(await make_request(user, *memberships))

    signed = f"- {KEYS[2]}", f"+ {KEYS[1]}"
    assert lines == "".join(f"0000000000012.500000 {each}\n" for each in signed)
    assert len(lines) == 2 * LINE_BYTES


@pytest.mark.parametrize("place", ["failures", "not_tried"])
async def test_row_that_was_not_applied_gives_no_line(place: str) -> None:
    request = await make_request(
        make_revocation(TRIP, USERS[1]), make_grant(TRIP, USERS[2]), make_grant(TRIP, USERS[3])
    )

    lines = record(request, answer={place: [{"operation": 1, "row": 0}]})

    assert [line.split()[2] for line in lines.splitlines()] == [KEYS[1], KEYS[3]]


async def test_request_that_was_refused_gives_no_line() -> None:
    assert record(await make_request(make_grant(TRIP, USERS[1])), 409) == ""


async def test_probe_gives_no_line() -> None:
    assert record(await make_request()) == ""


def test_claim_gives_no_line() -> None:
    head = b"POST /rest/v1/rpc/relay_claim HTTP/1.1"
    assert record(Message(head, b'{"request":"{\\"protocol\\":1}"}')) == ""
