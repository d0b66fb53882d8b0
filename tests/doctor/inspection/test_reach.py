"""Shows what each kind of answer, or none, at SUPABASE_URL is taken for."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.doctor.inspection.reach import Obstacle, Reach, reach_supabase
from app.supabase.client import open_http_client

NOW = 1_767_225_600.0
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
KEY = {"apikey": "sb_secret_test"}
DESCRIPTION = {"swagger": "2.0", "definitions": {}}
NO_KEY = {"message": "Invalid API key", "hint": "Double check your Supabase `apikey`"}


async def reach(url: str, transport: httpx.AsyncBaseTransport | None = None) -> Reach:
    async with open_http_client(url, KEY, timeout_seconds=5, transport=transport) as http:
        return await reach_supabase(http, clock=lambda: NOW)


async def reach_answer(response: httpx.Response) -> Reach:
    return await reach("https://project.supabase.test", httpx.MockTransport(lambda _: response))


@pytest.mark.parametrize(
    ("response", "obstacle"),
    [
        (httpx.Response(200, json=DESCRIPTION), None),
        # The description may be kept from everybody; that is still a Supabase.
        (httpx.Response(404, json={"code": "PGRST126", "message": "x"}), None),
        (httpx.Response(401, json=NO_KEY), Obstacle.KEY_REFUSED),
        (httpx.Response(401, json={"code": "PGRST301", "message": "x"}), Obstacle.KEY_REFUSED),
        (httpx.Response(540, text="Project paused"), Obstacle.PAUSED),
        (httpx.Response(503, json={"code": "PGRST002", "message": "x"}), Obstacle.FAILING),
        (httpx.Response(522, text="error code: 522"), Obstacle.FAILING),
        (httpx.Response(200, html="<h1>Welcome</h1>"), Obstacle.NOT_SUPABASE),
        (httpx.Response(200, json=[]), Obstacle.NOT_SUPABASE),
        (httpx.Response(200, json={"status": "ok"}), Obstacle.NOT_SUPABASE),
        (httpx.Response(404, html="<h1>Not found</h1>"), Obstacle.NOT_SUPABASE),
        (httpx.Response(404, json={"detail": "Not Found"}), Obstacle.NOT_SUPABASE),
        (httpx.Response(401, text="Unauthorized"), Obstacle.NOT_SUPABASE),
        (
            httpx.Response(307, headers={"location": "https://supabase.com/dashboard"}),
            Obstacle.REDIRECTED,
        ),
    ],
)
async def test_answer_is_taken_for_what_it_is(
    response: httpx.Response, obstacle: Obstacle | None
) -> None:
    assert (await reach_answer(response)).obstacle is obstacle


@pytest.mark.parametrize(
    ("date", "ahead_seconds"),
    [
        (DATE, 0.0),
        ("Thu, 01 Jan 2026 00:00:40 GMT", 40.0),
        ("Wed, 31 Dec 2025 23:59:20 GMT", -40.0),
        (None, None),
        ("yesterday", None),
    ],
)
async def test_date_header_gives_how_far_the_clock_there_is_ahead(
    date: str | None, ahead_seconds: float | None
) -> None:
    headers = {} if date is None else {"date": date}
    found = await reach_answer(httpx.Response(200, json=DESCRIPTION, headers=headers))
    assert found.ahead_seconds == ahead_seconds


async def test_nothing_that_listens_is_a_refused_connection() -> None:
    assert (await reach("http://127.0.0.1:9")).obstacle is Obstacle.REFUSED


async def test_host_name_that_there_is_not_is_named() -> None:
    assert (await reach("https://project.supabase.invalid")).obstacle is Obstacle.NAME_UNKNOWN


async def test_silence_is_a_timeout() -> None:
    def never(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    found = await reach("https://project.supabase.test", httpx.MockTransport(never))
    assert found.obstacle is Obstacle.TIMED_OUT


@asynccontextmanager
async def serve(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_certificate_of_an_unknown_authority_is_refused_by_name(tmp_path: Path) -> None:
    async with serve(make_context(tmp_path)) as port:
        found = await reach(f"https://127.0.0.1:{port}")

    assert found.obstacle is Obstacle.CERTIFICATE_REFUSED
    assert "self-signed" in found.detail


async def test_plain_http_behind_an_https_url_is_a_failure_of_tls() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        found = await reach(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    assert found.obstacle is Obstacle.TLS_FAILED


async def test_connection_that_is_dropped_is_broken() -> None:
    async with serve(None) as port:
        assert (await reach(f"http://127.0.0.1:{port}")).obstacle is Obstacle.BROKEN


def make_context(folder: Path) -> ssl.SSLContext:
    """Make a certificate that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
