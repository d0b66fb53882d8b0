"""Each response at SUPABASE_URL, and each error, leads to the finding that names it."""

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

from app.doctor.connectivity import check_connectivity
from app.doctor.findings import Finding, Status
from app.doctor.project import Project
from app.supabase.client import open_http_client
from app.supabase.targets import MINIMAL_TARGETS

NOW = 1_767_225_600.0
DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
KEY = {"apikey": "sb_secret_test"}
URL = "https://project.supabase.test"
DESCRIPTION = {"swagger": "2.0", "definitions": {}}
NO_KEY = {"message": "Invalid API key", "hint": "Double check your Supabase `apikey`"}


async def check(url: str, transport: httpx.AsyncBaseTransport | None = None) -> list[Finding]:
    async with open_http_client(url, {}, timeout_seconds=5, transport=transport) as http:
        project = Project(http, MINIMAL_TARGETS, KEY, None, None, None)
        return await check_connectivity(project, clock=lambda: NOW)


async def check_response(response: httpx.Response) -> list[Finding]:
    return await check(URL, httpx.MockTransport(lambda _: response))


@pytest.mark.parametrize(
    ("response", "what"),
    [
        (httpx.Response(401, json=NO_KEY), "rejected the relay's API key"),
        (httpx.Response(401, json={"code": "PGRST301", "message": "x"}), "rejected the relay's"),
        (httpx.Response(540, text="Project paused"), "is paused"),
        (httpx.Response(503, json={"code": "PGRST002", "message": "x"}), "error (HTTP 503)"),
        (httpx.Response(522, text="error code: 522"), "error (HTTP 522)"),
        (httpx.Response(200, html="<h1>Welcome</h1>"), "not a Supabase project (HTTP 200)"),
        (httpx.Response(200, json=[]), "not a Supabase project"),
        (httpx.Response(200, json={"status": "ok"}), "not a Supabase project"),
        (httpx.Response(404, html="<h1>Not found</h1>"), "not a Supabase project"),
        (httpx.Response(404, json={"detail": "Not Found"}), "not a Supabase project"),
        (httpx.Response(401, text="Unauthorized"), "not a Supabase project"),
        (
            httpx.Response(307, headers={"location": "https://supabase.com/dashboard"}),
            "not a Supabase project (HTTP 307)",
        ),
    ],
)
async def test_response_that_is_not_usable_is_a_problem_that_names_the_cause(
    response: httpx.Response, what: str
) -> None:
    (finding,) = await check_response(response)

    assert finding.status is Status.PROBLEM
    assert what in finding.what


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, json=DESCRIPTION),
        # A project may hide its description.
        httpx.Response(404, json={"code": "PGRST126", "message": "x"}),
    ],
)
async def test_response_of_postgrest_is_ok(response: httpx.Response) -> None:
    (finding,) = await check_response(response)

    assert finding.status is Status.OK


@pytest.mark.parametrize(
    ("date", "what"),
    [
        (DATE, "agrees with Supabase's"),
        ("Thu, 01 Jan 2026 00:00:40 GMT", "is 40 s behind Supabase's"),
        ("Wed, 31 Dec 2025 23:59:20 GMT", "is 40 s ahead of Supabase's"),
        ("yesterday", None),
    ],
)
async def test_date_header_is_compared_with_the_clock(date: str, what: str | None) -> None:
    response = httpx.Response(200, json=DESCRIPTION, headers={"date": date})

    _, *clock = await check_response(response)

    assert [what in finding.what for finding in clock if what] == ([True] if what else [])


async def explain_error(url: str, transport: httpx.AsyncBaseTransport | None = None) -> str:
    (finding,) = await check(url, transport)
    assert finding.status is Status.PROBLEM
    return finding.what


async def test_refused_connection_is_named() -> None:
    assert "ConnectionRefusedError" in await explain_error("http://127.0.0.1:9")


async def test_unknown_host_name_is_named() -> None:
    assert "gaierror" in await explain_error("https://project.supabase.invalid")


async def test_timeout_is_named() -> None:
    def time_out(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("")

    assert "in time" in await explain_error(URL, httpx.MockTransport(time_out))


@asynccontextmanager
async def serve(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_certificate_of_an_unknown_authority_is_named(tmp_path: Path) -> None:
    async with serve(make_context(tmp_path)) as port:
        what = await explain_error(f"https://127.0.0.1:{port}")

    assert "certificate verify failed: self-signed" in what


async def test_http_server_behind_an_https_url_is_a_tls_failure() -> None:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
        what = await explain_error(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")

    assert "SSLError" in what


async def test_dropped_connection_is_named() -> None:
    async with serve(None) as port:
        assert "RemoteProtocolError" in await explain_error(f"http://127.0.0.1:{port}")


def make_context(folder: Path) -> ssl.SSLContext:
    """Make a self-signed certificate."""
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
