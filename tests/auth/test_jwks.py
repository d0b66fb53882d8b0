"""When the key set is fetched, and which keys survive failing fetches."""

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.auth.jwks import KeySet
from app.domain.errors import KeySetUnavailable
from tests.auth.issuer import KEY_SET_URL, Clock, KeyServer

RSA_KEY: dict[str, object] = {"kty": "RSA", "kid": "rsa-1", "n": "AQAB", "e": "AQAB"}
EC_KEY: dict[str, object] = {"kty": "EC", "kid": "ec-1", "crv": "P-256", "x": "AA", "y": "AA"}
NEW_KEY: dict[str, object] = RSA_KEY | {"kid": "rsa-2"}


async def test_key_set_with_known_keys_fetches_once() -> None:
    server = KeyServer([RSA_KEY, EC_KEY])
    key_set = server.connect()
    assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
    assert await key_set.find_key("ec-1", "EC") == EC_KEY
    assert [str(request.url) for request in server.requests] == [KEY_SET_URL]


async def test_key_set_unused_fetches_nothing() -> None:
    server = KeyServer([RSA_KEY])
    server.connect()
    assert server.requests == []


async def test_key_set_with_a_key_of_another_type_finds_none() -> None:
    key_set = KeyServer([RSA_KEY]).connect()
    assert await key_set.find_key("rsa-1", "EC") is None


async def test_key_set_without_kid_finds_the_only_key_of_the_type() -> None:
    key_set = KeyServer([RSA_KEY, EC_KEY]).connect()
    assert await key_set.find_key(None, "EC") == EC_KEY


async def test_key_set_without_kid_among_several_of_the_type_finds_none() -> None:
    key_set = KeyServer([RSA_KEY, NEW_KEY, EC_KEY]).connect()
    assert await key_set.find_key(None, "RSA") is None


async def test_key_set_with_an_unknown_kid_refreshes_once() -> None:
    server = KeyServer([RSA_KEY])
    key_set = server.connect()
    await key_set.find_key("rsa-1", "RSA")
    server.keys.append(NEW_KEY)
    server.clock.advance(30)
    assert await key_set.find_key("rsa-2", "RSA") == NEW_KEY
    assert len(server.requests) == 2


async def test_key_set_with_unknown_kids_fetches_at_most_once_in_30_seconds() -> None:
    server = KeyServer([RSA_KEY])
    key_set = server.connect()
    for second in range(91):
        assert await key_set.find_key(f"forged-{second}", "RSA") is None
        assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
        server.clock.advance(1)
    assert len(server.requests) == 4  # at 0, 30, 60 and 90 seconds


async def test_key_set_older_than_10_minutes_refreshes() -> None:
    server = KeyServer([RSA_KEY])
    key_set = server.connect()
    await key_set.find_key("rsa-1", "RSA")
    server.clock.advance(600)
    await key_set.find_key("rsa-1", "RSA")
    assert len(server.requests) == 1
    server.keys = [NEW_KEY]
    server.clock.advance(1)
    assert await key_set.find_key("rsa-1", "RSA") is None, "a withdrawn key is forgotten"
    assert len(server.requests) == 2


async def test_key_set_with_concurrent_callers_fetches_once() -> None:
    fetching, released = asyncio.Event(), asyncio.Event()
    requests = 0

    async def answer(_request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        fetching.set()
        await released.wait()
        return httpx.Response(200, json={"keys": [RSA_KEY]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        key_set = KeySet(KEY_SET_URL, client, clock=Clock())
        first = asyncio.create_task(key_set.find_key("rsa-1", "RSA"))
        await fetching.wait()
        others = asyncio.gather(*(key_set.find_key("rsa-1", "RSA") for _ in range(50)))
        asyncio.get_running_loop().call_soon(released.set)  # after the others have begun
        assert await others == [RSA_KEY] * 50
        assert await first == RSA_KEY
    assert requests == 1


async def test_key_set_while_a_refresh_hangs_uses_cached_keys() -> None:
    clock = Clock()
    hanging, released = asyncio.Event(), asyncio.Event()
    requests = 0

    async def answer(_request: httpx.Request) -> httpx.Response:
        nonlocal requests
        requests += 1
        if requests > 1:
            hanging.set()
            await released.wait()
        return httpx.Response(200, json={"keys": [RSA_KEY]})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        key_set = KeySet(KEY_SET_URL, client, clock=clock)
        await key_set.find_key("rsa-1", "RSA")
        clock.advance(601)
        refreshing = asyncio.create_task(key_set.find_key("rsa-1", "RSA"))
        await hanging.wait()
        assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
        assert not refreshing.done()
        released.set()
        assert await refreshing == RSA_KEY
    assert requests == 2


async def test_key_set_while_a_fetch_hangs_lets_64_wait_and_sends_the_others_away() -> None:
    """Any caller can send tokens that name unknown keys."""
    clock = Clock()
    hanging, released = asyncio.Event(), asyncio.Event()
    keys = [RSA_KEY]

    async def answer(_request: httpx.Request) -> httpx.Response:
        if len(keys) > 1:
            hanging.set()
            await released.wait()
        return httpx.Response(200, json={"keys": keys})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        key_set = KeySet(KEY_SET_URL, client, clock=clock)
        await key_set.find_key("rsa-1", "RSA")
        for _ in range(2):  # A finished caller no longer counts.
            keys.append(NEW_KEY)
            clock.advance(30)
            hanging.clear()
            released.clear()
            fetching = asyncio.create_task(key_set.find_key("unknown", "RSA"))
            await hanging.wait()
            waiting = [asyncio.create_task(key_set.find_key("rsa-2", "RSA")) for _ in range(64)]
            cancelled = waiting[0]
            await run_until_blocked()
            for _ in range(1000):
                with pytest.raises(KeySetUnavailable):
                    await key_set.find_key("rsa-2", "RSA")
            assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
            assert not any(task.done() for task in (fetching, *waiting))
            cancelled.cancel()
            await asyncio.wait([cancelled])
            waiting[0] = asyncio.create_task(key_set.find_key("rsa-2", "RSA"))
            released.set()
            assert await asyncio.gather(*waiting) == [NEW_KEY] * 64
            assert await fetching is None
            keys[:] = [RSA_KEY]
            clock.advance(30)
            await key_set.find_key("unknown", "RSA")


async def run_until_blocked() -> None:
    """Let every task that is ready run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def fail_to_connect(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def time_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("slow", request=request)


def drip(_request: httpx.Request) -> httpx.Response:
    raise TimeoutError  # what the limit on the whole fetch raises


async def drip_for_ever() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 65_536


TROUBLE: dict[str, Callable[[httpx.Request], httpx.Response]] = {
    "refused": fail_to_connect,
    "timeout": time_out,
    "drip": drip,
    "503": lambda _: httpx.Response(503, text="personal data in an error page"),
    "404": lambda _: httpx.Response(404, json={"keys": []}),
    "redirect": lambda _: httpx.Response(302, headers={"location": "https://elsewhere.test/"}),
    "html": lambda _: httpx.Response(200, text="<html>personal data"),
    "empty": lambda _: httpx.Response(200, content=b""),
    "bad utf-8": lambda _: httpx.Response(200, content=b'{"keys": "\xff"}'),
    "list": lambda _: httpx.Response(200, json=[]),
    "without keys": lambda _: httpx.Response(200, json={"keys": []}),
    "without usable keys": lambda _: httpx.Response(
        200,
        json={
            "keys": [
                *(None, 1, "x", [], {}, {"kty": ["RSA"], "kid": {}}),
                {"kty": "oct", "kid": "rsa-1", "k": "AAAA"},
                {"kty": "OKP", "kid": "rsa-1", "crv": "Ed25519", "x": "AAAA"},
                RSA_KEY | {"use": "enc"},
                RSA_KEY | {"n": ""},
                RSA_KEY | {"e": 65537},
                {"kty": "EC", "kid": "ec-1", "x": "AA", "y": "AA"},
                {"kty": "RSA", "kid": "rsa-1", "crv": "P-256", "x": "AA", "y": "AA"},
            ]
        },
    ),
    "no keys": lambda _: httpx.Response(200, json={"error": "personal data"}),
    "keys no list": lambda _: httpx.Response(200, json={"keys": {"rsa-1": RSA_KEY}}),
    "deep": lambda _: httpx.Response(200, content=b"[" * 100_000),
    "too large": lambda _: httpx.Response(200, content=b" " * 524_289),
    "compressed": lambda _: httpx.Response(
        200,
        content=gzip.compress(b'{"keys": []}'),
        headers={"content-encoding": "gzip"},
    ),
    "endless": lambda _: httpx.Response(200, content=drip_for_ever()),
}


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_key_set_through_trouble_keeps_the_last_good_set_and_warns(
    trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = KeyServer([RSA_KEY])
    key_set = server.connect(follow_redirects=True)
    await key_set.find_key("rsa-1", "RSA")
    caplog.clear()
    server.answer = TROUBLE[trouble]
    server.clock.advance(86_400)
    assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
    assert len(server.requests) == 2
    [record] = [record for record in caplog.records if record.name == "app.auth.jwks"]
    assert record.levelno == logging.WARNING
    assert "JWT_JWKS_URL" in record.getMessage()
    assert "personal data" not in caplog.text

    server.answer = None
    server.keys = [NEW_KEY]
    server.clock.advance(29)
    assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
    assert len(server.requests) == 2, "an outage is not hammered"
    server.clock.advance(1)
    assert await key_set.find_key("rsa-2", "RSA") == NEW_KEY


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_key_set_unavailable_from_the_start_raises_and_recovers(trouble: str) -> None:
    server = KeyServer([RSA_KEY], answer=TROUBLE[trouble])
    key_set = server.connect()
    with pytest.raises(KeySetUnavailable):
        await key_set.find_key("rsa-1", "RSA")
    server.answer = None
    with pytest.raises(KeySetUnavailable):
        await key_set.find_key("rsa-1", "RSA")
    server.clock.advance(30)
    assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY


async def test_key_set_of_exactly_the_limit_is_read() -> None:
    body = json.dumps({"keys": [RSA_KEY]}).encode()
    server = KeyServer(
        answer=lambda _: httpx.Response(200, content=body + b" " * (524_288 - len(body)))
    )
    assert await server.connect().find_key("rsa-1", "RSA") == RSA_KEY


async def test_key_set_with_members_that_are_no_keys_leaves_them_out() -> None:
    server = KeyServer()
    server.answer = lambda _: httpx.Response(
        200, json={"keys": [None, 1, "x", [], {}, {"kty": ["RSA"], "kid": {}}, RSA_KEY]}
    )
    key_set = server.connect()
    assert await key_set.find_key("rsa-1", "RSA") == RSA_KEY
    assert await key_set.find_key(None, "RSA") == RSA_KEY


async def test_key_set_fetches_uncompressed_with_an_explicit_timeout() -> None:
    server = KeyServer([RSA_KEY])
    await server.connect(timeout=None).find_key("rsa-1", "RSA")
    [request] = server.requests
    assert request.headers["accept-encoding"] == "identity"
    assert request.extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 5.0)


@settings(deadline=None)  # a busy machine is no defect
@given(body=st.binary(max_size=200), status=st.integers(200, 599))
async def test_key_set_given_any_answer_raises_nothing_else(body: bytes, status: int) -> None:
    server = KeyServer(answer=lambda _: httpx.Response(status, content=body))
    with contextlib.suppress(KeySetUnavailable):
        assert await server.connect().find_key("rsa-1", "RSA") is None


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (httpx.Response(404), "ERROR"),
        (httpx.Response(200, content=b"<html>"), "ERROR"),
        (httpx.Response(503), "WARNING"),
    ],
    ids=["404", "html", "503"],
)
async def test_key_set_never_fetched_logs_a_wrong_url_as_an_error_and_the_recovery(
    caplog: pytest.LogCaptureFixture, answer: httpx.Response, level: str
) -> None:
    caplog.set_level("INFO", logger="app.auth.jwks")
    server = KeyServer([RSA_KEY], answer=lambda _: answer)
    key_set = server.connect()
    for _ in range(11):
        with pytest.raises(KeySetUnavailable):
            await key_set.find_key("rsa-1", "RSA")
        server.clock.advance(30)
    server.answer = None
    await key_set.find_key("rsa-1", "RSA")
    first, reminder, recovery = caplog.records
    assert (first.levelname, reminder.levelname) == (level, level)
    assert reminder.getMessage() == f"{first.getMessage()} (for 5 minutes)"
    assert recovery.getMessage() == "the key set of JWT_JWKS_URL can be fetched again"
