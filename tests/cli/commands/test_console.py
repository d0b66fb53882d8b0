"""`relay console` prints a link that opens the console."""

import asyncio
import time

import pytest

from app.auth.claims import Claims
from tests.cli.conftest import RunCommand, verify_token
from tests.cli.wire import Wire, document, problem

LINK = document({"path": "/console/links/code", "expires_at": "2026-01-02T03:05:05Z"}, 201)


def read_claims(wire: Wire) -> Claims:
    token = wire.asked[0].bearer
    return asyncio.run(verify_token(token, issuer="https://issuer.test", audience="relay"))


def test_console_prints_the_link_alone(wire: Wire, run: RunCommand) -> None:
    wire.answers = [LINK]
    done = run("console")
    assert (done.code, done.out) == (0, f"{wire.url}/console/links/code\n")
    assert "works once" in done.err
    assert [(asked.method, asked.path) for asked in wire.asked] == [("POST", "/console/links")]


def test_console_of_a_url_that_ends_with_a_slash_prints_one(wire: Wire, run: RunCommand) -> None:
    wire.answers = [LINK]
    done = run("console", "--url", f"{wire.url}/")
    assert done.out == f"{wire.url}/console/links/code\n"


@pytest.mark.parametrize(
    ("options", "scopes", "hours"),
    [
        ((), {"events:read", "replay:write"}, 1),
        (("--read-only", "--hours", "8"), {"events:read"}, 8),
    ],
)
def test_console_signs_a_token_for_the_session(
    wire: Wire,
    run: RunCommand,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    scopes: set[str],
    hours: int,
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.test")
    monkeypatch.setenv("JWT_AUDIENCE", "relay")
    wire.answers = [LINK]
    run("console", *options)
    claims = read_claims(wire)
    assert claims.scopes == scopes
    assert claims.expires_at - time.time() == pytest.approx(hours * 3600, abs=60)


def test_console_sends_a_given_token(wire: Wire, run: RunCommand) -> None:
    wire.answers = [LINK]
    run("console", "--token", "a.b.c")
    assert wire.asked[0].bearer == "a.b.c"


def test_console_of_a_relay_without_operators_says_why(wire: Wire, run: RunCommand) -> None:
    wire.answers = [problem(403, "operator-access-not-configured")]
    done = run("console")
    assert done.code == 1
    assert "neither JWT_SECRET nor JWT_JWKS_URL" in done.err
