"""The request parser reads the same requests from any segments."""

import random
from typing import Any

import pytest

from app.api.request_body import EVENT_BYTES
from app.domain.errors import (
    BodyTooLarge,
    HeadTooLarge,
    RequestMalformed,
)
from app.server.limits import Limits
from app.server.request_parser import Request, RequestParser, Stage
from tests.server.raw_http import BODY, write_request
from tests.server.reading import read_requests
from tests.server.variants import SMUGGLED, UPGRADES, make_variants

VARIANTS = make_variants()


def make_parser(limits: Limits | None = None) -> RequestParser:
    return RequestParser(limits or Limits(), lambda _: EVENT_BYTES)


def read_one(request: bytes) -> Request:
    (found,), reason = read_requests([request])
    assert reason is None
    return found


def test_there_are_enough_variants() -> None:
    assert len(VARIANTS) >= 100


@pytest.mark.parametrize("name", VARIANTS)
def test_request_reads_the_same_wherever_it_is_cut(name: str) -> None:
    request = VARIANTS[name]
    whole = read_requests([request])
    for end in range(1, len(request)):
        assert read_requests([request[:end], request[end:]]) == whole, end
    assert read_requests(request[n : n + 1] for n in range(len(request))) == whole


@pytest.mark.parametrize("name", VARIANTS)
def test_request_is_followed_by_another_only_where_its_framing_ends(name: str) -> None:
    """What is valid is read alone and leaves the next request as it is."""
    requests, reason = read_requests([VARIANTS[name] + write_request("evt_next")])
    alone, alone_reason = read_requests([VARIANTS[name]])
    if alone_reason is None:
        assert requests == [*alone, read_one(write_request("evt_next"))]
        assert reason is None
    else:
        # Refused, or a body that takes what follows for its own.
        assert all(b"evt_next" not in found.headers.values() for found in requests)


def test_random_pipelines_read_the_same_with_any_cuts() -> None:
    source = random.Random(16)  # noqa: S311 - not for secrets
    valid = [request for request in VARIANTS.values() if read_requests([request])[1] is None]
    assert len(valid) > 50
    for _ in range(200):
        chosen = source.choices(valid, k=source.randint(2, 8))
        stream = b"".join(chosen)
        expected = [found for request in chosen for found in read_requests([request])[0]]
        cuts = sorted(source.choices(range(len(stream)), k=source.randint(0, 12)))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert read_requests(piece for piece in pieces if piece) == (expected, None)


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_body_of_an_upgrade_request_is_its_body(upgrade: str) -> None:
    (request,), reason = read_requests([VARIANTS[f"upgrade-stranger-{upgrade}"]])
    assert (request.body, reason) == (SMUGGLED, None)


@pytest.mark.parametrize(
    "name", [name for name in VARIANTS if name.startswith(("malformed", "framing"))]
)
def test_ambiguous_or_malformed_request_is_rejected(name: str) -> None:
    accepted = {
        "framing-length-zeros",
        "framing-chunked-tab",
        "framing-chunked-capitals",
        "malformed-5",  # two spaces before the target
        "malformed-17",  # a path of odd bytes
    }
    assert (read_requests([VARIANTS[name]])[1] is None) == (name in accepted)


def test_headers_are_lists_by_name() -> None:
    request = read_one(
        b"GET / HTTP/1.1\r\nA: 1\r\nB: x\r\na:2\r\nA: 3, 4\r\nC:\r\nD: \xff \t\r\n\r\n"
    )
    assert request.headers == {b"a": b"1, 2, 3, 4", b"b": b"x", b"c": b"", b"d": b"\xff"}


def test_chunks_may_be_small_but_not_without_end() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    small = read_one(head + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n")
    assert small.body == b"x" * 500
    # As a proxy sends on what it receives.
    segments = read_one(head + (b"200\r\n%b\r\n" % (b"x" * 512)) * 128 + b"0\r\n\r\n")
    assert len(segments.body) == EVENT_BYTES
    assert read_requests([head + b"1\r\nx\r\n" * 520])[1] == "RequestMalformed"
    assert read_requests([head + b"1;extension\r\nx\r\n" * 520])[1] == "RequestMalformed"
    assert read_requests([head + b"0\r\n" + b"X: y\r\n" * 1100])[1] == "RequestMalformed"


def test_trailers_are_not_headers() -> None:
    request = read_one(VARIANTS["chunks-trailers"])
    assert request.body == b"abc"
    assert request.headers.keys() == {b"host", b"transfer-encoding"}


@pytest.mark.parametrize(
    ("fields", "keep_alive"),
    [
        ([], True),
        (["Connection: keep-alive"], True),
        (["Connection: close"], False),
        (["Connection: CLOSE"], False),
        (["Connection: keep-alive, close"], False),
        (["Connection: close, keep-alive"], False),
        (["Connection: close", "Connection: keep-alive"], False),
        (["Connection: keep-alive", "Connection: close"], False),
        (["Connection: upgrade,close", "Upgrade: h2c"], False),
        (["Connection: closed"], True),
    ],
)
def test_close_wins(fields: list[str], keep_alive: bool) -> None:
    for version, expected in (("1.1", keep_alive), ("1.0", False)):
        head = "\r\n".join((f"GET / HTTP/{version}", *fields, "", "")).encode()
        assert read_one(head).keep_alive is expected


@pytest.mark.parametrize("is_cut", [False, True])
def test_head_within_the_limits_is_read_and_beyond_them_rejected(is_cut: bool) -> None:
    limits = Limits(head_bytes=1000, head_fields=10)

    def try_(head: bytes) -> str | None:
        step = 7 if is_cut else len(head)
        return read_requests(
            (head[n : n + step] for n in range(0, len(head), step)), limits=limits
        )[1]

    start = b"GET / HTTP/1.1\r\nA: "
    assert try_(start + b"x" * (1000 - len(start) - 4) + b"\r\n\r\n") is None
    assert try_(start + b"x" * (1001 - len(start) - 4) + b"\r\n\r\n") == "HeadTooLarge"
    assert try_(start + b"x" * 2000) == "HeadTooLarge"
    assert try_(b"\r\n" * 501) == "HeadTooLarge"
    assert try_(b"GET /" + b"x" * 2000) == "HeadTooLarge"
    assert try_(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10 + b"\r\n") is None
    assert try_(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 11 + b"\r\n") == "HeadTooLarge"


def test_default_limits_are_those_of_the_contract() -> None:
    start = b"GET / HTTP/1.1\r\nA: "
    assert read_requests([start + b"x" * (32_768 - len(start) - 4) + b"\r\n\r\n"])[1] is None
    assert (
        read_requests([start + b"x" * (32_769 - len(start) - 4) + b"\r\n\r\n"])[1] == "HeadTooLarge"
    )
    assert read_requests([b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n"])[1] is None
    assert read_requests([b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n"])[1] == "HeadTooLarge"


def test_body_of_the_longest_length_is_read_and_a_longer_one_rejected_at_its_head() -> None:
    for request in (write_request("evt_1", BODY.ljust(EVENT_BYTES)),):
        assert len(read_one(request).body) == EVENT_BYTES
    head = write_request("evt_1", b"", content_length=str(EVENT_BYTES + 1))
    parser = make_parser()
    parser.feed(head)
    with pytest.raises(BodyTooLarge, match="65536"):
        parser.read()


def test_chunks_beyond_the_limit_are_rejected_before_they_are_held() -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    parser = make_parser()
    parser.feed(head + b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n2\r\n")
    with pytest.raises(BodyTooLarge):
        parser.read()


@pytest.mark.parametrize("filler", [b"\r\n", b"\r", b"\n"])
def test_empty_lines_before_a_request_are_not_held(filler: bytes) -> None:
    parser = make_parser()
    for _ in range(10):
        parser.feed(filler * 1000)
        assert parser.read() is None
    assert (parser.stage, parser.held_bytes) == (Stage.START, 0)
    parser.feed(SMUGGLED)
    request = parser.read()
    assert request is not None
    assert request.target == b"/health/live"


def test_parser_reports_held_bytes() -> None:
    parser = make_parser()
    held: list[tuple[Any, int]] = []
    request = write_request("evt_1")
    head_bytes = request.index(b"\r\n\r\n") + 4
    for piece in (request[:10], request[10:head_bytes], request[head_bytes:-1], request[-1:]):
        parser.feed(piece)
        parser.read()
        held.append((parser.stage, parser.held_bytes))
    assert held == [
        (Stage.HEAD, 10),
        (Stage.BODY, head_bytes),
        (Stage.BODY, len(request) - 1),
        (Stage.START, 0),
    ]
    parser.feed(request + request)
    assert parser.read() is not None
    assert parser.held_bytes >= len(request)


def test_rejections_name_the_reason_without_the_input() -> None:
    for request, kind in (
        (b"GET / HTTP/1.1\r\nswordfish\r\n\r\n", RequestMalformed),
        (b"GET / HTTP/1.1\r\nContent-Length: swordfish\r\n\r\n", RequestMalformed),
        (b"GET / HTTP/1.1\r\nswordfish: " + b"x" * 40_000, HeadTooLarge),
    ):
        parser = make_parser()
        parser.feed(request)
        with pytest.raises(kind) as caught:
            parser.read()
        assert "swordfish" not in str(caught.value)
