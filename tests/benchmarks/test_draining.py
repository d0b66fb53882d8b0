"""The bare loop sends what the relay sends."""

import json
from typing import Any

from benchmarks.draining import write_operations, write_request
from benchmarks.world import name_membership
from tests.benchmarks.entities import make_grant, send


def read(body: bytes) -> Any:
    return json.loads(json.loads(body)["request"])


async def test_bare_loop_sends_the_request_of_the_relay() -> None:
    grants = [make_grant(*name_membership(number)) for number in range(10, 30)]
    request = await send(grants, epoch=4, sequence=7)

    assert read(write_request(4, 7, write_operations(10, 20))) == read(request.content)
