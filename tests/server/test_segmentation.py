"""Responses over real sockets are the same for any segments."""

import random
import re
from typing import Final

import pytest

from tests.server.raw_http import BODY, OTHER_BODY, write_chunked, write_request
from tests.server.reading import read_requests
from tests.server.served import Served
from tests.server.variants import make_variants

pytestmark = pytest.mark.usefixtures("quiet")

VARIANTS: Final = make_variants()
_PIPELINES: Final = 60
_CUTS: Final = 12


def is_complete(request: bytes) -> bool:
    """Tell what is answered without more bytes: whole requests, and what cannot be one."""
    return read_requests([request])[1] != "incomplete"


def ask(served: Served, *pieces: bytes) -> bytes:
    """Send all pieces and give everything that is answered, without dates and made ids."""
    with served.open() as client:
        client.send_while_open(*pieces)
        answers = client.read_to_end()
    return re.sub(rb"(date: [^\r]*|x-request-id: [0-9a-f]{32})\r\n", b"", answers)


@pytest.mark.parametrize("name", [name for name in VARIANTS if is_complete(VARIANTS[name])])
def test_request_is_answered_the_same_wherever_it_is_cut(served: Served, name: str) -> None:
    request = VARIANTS[name]
    source = random.Random(name)  # noqa: S311 - not for secrets
    ask(served, request)  # What is new the first time is a duplicate ever after.
    whole = ask(served, request)
    assert whole.startswith(b"HTTP/1.1 ")
    head_end = request.find(b"\r\n\r\n") + 4
    cuts = {1, head_end - 2, head_end, head_end + 1, len(request) - 1}
    cuts |= {source.randrange(len(request)) for _ in range(_CUTS)}
    for cut in sorted(cuts):
        if 0 < cut < len(request):
            assert ask(served, request[:cut], request[cut:]) == whole, cut


PARTS: Final = (
    write_request("evt_pipe_1"),
    write_request("evt_pipe_2", BODY, "Prefer: wait=0"),
    write_request("evt_pipe_1", OTHER_BODY),
    write_request("evt_pipe_3", webhook_signature="v1,bm9uZQ=="),
    write_request("evt_pipe_4", b'{"type": '),
    write_request("evt_pipe_5", BODY, "Connection: Upgrade", "Upgrade: h2c"),
    write_chunked("evt_pipe_6"),
    write_request("evt_pipe_7", b'{"events": []}', target="/webhooks/batch"),
    write_request("evt_pipe_8", target="/nowhere"),
    b"GET /health/live HTTP/1.1\r\nHost: relay.test\r\n\r\n",
    b"HEAD /health/live HTTP/1.1\r\nHost: relay.test\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: relay.test\r\n\r\n",
)
LAST: Final = (
    write_request("evt_pipe_9", connection="close"),
    b"rubbish\r\n\r\n",
    write_request("evt_pipe_9", content_length="99999999"),
)


def test_pipeline_of_fast_slow_and_rejected_requests_is_answered_in_order(served: Served) -> None:
    for part in (*PARTS, *LAST):
        ask(served, part)
    answers = {part: ask(served, part) for part in (*PARTS, *LAST)}
    source = random.Random(4)  # noqa: S311 - not for secrets
    for _ in range(_PIPELINES):
        chosen = [*source.choices(PARTS, k=source.randint(2, 12)), source.choice(LAST)]
        stream = b"".join(chosen)
        ends = sorted({source.randrange(1, len(stream)) for _ in range(source.randint(0, 6))})
        pieces = [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]
        assert ask(served, *pieces) == b"".join(answers[part] for part in chosen)
