"""Every failure between the command and a relay is one sentence, never a traceback."""

import socket
import threading

import pytest
from jose import jwt

from tests.cli.conftest import Done, RunCommand, verify_token
from tests.cli.documents import make_event, make_page
from tests.cli.wire import Answer, Wire, document, problem


def assert_sentence(done: Done, code: int, *parts: str) -> None:
    assert done.code == code, done
    assert done.out == ""
    assert done.err.startswith("relay: ")
    assert "Traceback" not in done.err
    for part in parts:
        assert part in done.err


@pytest.mark.parametrize(
    ("answer", "code", "parts"),
    [
        (
            problem(401, "unauthenticated"),
            1,
            ["not accept the token", "JWT_SECRET"],
        ),
        (problem(403, "scope-missing"), 1, ["relay token --scope events:read"]),
        (problem(403, "operator-access-not-configured"), 1, ["relay secret --kind jwt"]),
        (problem(404, "path-not-found"), 3, ["has no /events", "another version"]),
        (problem(503, "store-unavailable", "Not now."), 3, ["503", "Not now."]),
        (problem(429, "overloaded", "Too many."), 3, ["429", "Too many."]),
        (problem(500, "internal-error", "It failed."), 3, ["It failed."]),
        (
            problem(
                422, "input-invalid", "No.", errors=[{"pointer": "/since", "detail": "is [odd]"}]
            ),
            1,
            ["422 input-invalid: No.", "  /since: is [odd]"],
        ),
        (problem(418, "new\x1b[2J[/bold]", "A teapot."), 1, ["418", "A teapot."]),
        (
            Answer(502, b"<html>Bad Gateway", {"content-type": "text/html; charset=utf-8"}),
            3,
            ["is not a relay: 502 Bad Gateway, text/html", "proxy"],
        ),
        (Answer(200, b"<html>Welcome"), 3, ["is not a relay: 200 OK, no content type"]),
        (Answer(200, b"[1]", {"content-type": "application/json"}), 3, ["is not a relay"]),
        (Answer(404, b"\xff\xfe\x00"), 3, ["is not a relay: 404"]),
        (
            Answer(301, b"", {"location": "https://relay.test/events"}),
            3,
            ["to https://relay.test/events: give that to --url"],
        ),
        (document({"events": "none"}), 3, ["another version"]),
        (document(make_page(make_event() | {"status": None})), 3, ["another version"]),
    ],
)
def test_unusable_response_is_a_sentence(
    wire: Wire, run: RunCommand, answer: Answer, code: int, parts: list[str]
) -> None:
    wire.answers = [answer]
    done = run("events")
    assert_sentence(done, code, *parts)
    assert "\x1b" not in done.err


def test_unreachable_relay_is_a_sentence(run: RunCommand) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        done = run("events", "--url", url)
    assert_sentence(done, 3, f"no relay responds at {url}: ", "Connection refused")


def test_relay_without_tls_is_a_sentence(wire: Wire, run: RunCommand) -> None:
    done = run("events", "--url", wire.url.replace("http:", "https:"))
    assert_sentence(done, 3, "did you mean http://")


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_server_of_another_protocol_is_a_sentence(run: RunCommand, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        done = run("events", "--url", f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert_sentence(done, 3, "no relay responds at")


def test_given_token_is_sent(wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    wire.answers = [document(make_page())]
    run("events", "--token", "a.b.c")
    monkeypatch.setenv("RELAY_TOKEN", " Bearer d.e.f\n")
    run("events")
    assert [asked.bearer for asked in wire.asked] == ["a.b.c", "d.e.f"]


@pytest.mark.parametrize("token", ["", " ", "a b", "é", "a\nb"])
def test_given_token_with_invalid_characters_is_rejected(
    wire: Wire, run: RunCommand, token: str
) -> None:
    assert_sentence(run("events", "--token", token), 2, "is not a token")
    assert wire.asked == []


def test_given_token_that_is_not_accepted_says_how_to_get_one(wire: Wire, run: RunCommand) -> None:
    wire.answers = [problem(401, "unauthenticated")]
    done = run("replay", "--list", "--token", "a.b.c")
    assert_sentence(done, 1, "expired", "relay token --scope replay:write")
    assert "a.b.c" not in done.err


async def test_signed_token_has_exactly_the_needed_scope(
    wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "https://issuer.test")
    monkeypatch.setenv("JWT_AUDIENCE", "relay")
    wire.answers = [document(make_page())]
    run("events")
    bearer = wire.asked[0].bearer
    claims = await verify_token(bearer, issuer="https://issuer.test", audience="relay")
    assert claims.scopes == {"events:read"}
    assert claims.subject


async def test_every_request_carries_a_token_that_is_valid_for_five_minutes(
    wire: Wire, run: RunCommand
) -> None:
    wire.answers = [document(make_page(cursor="a")), document(make_page())]
    run("events")
    assert len(wire.asked) == 2
    for asked in wire.asked:
        claims = jwt.get_unverified_claims(asked.bearer)
        assert claims["exp"] - claims["iat"] == 300


def test_token_that_cannot_be_signed_is_a_sentence(
    wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    assert_sentence(run("events"), 2, "--token", "JWT_SECRET", "events:read")
    monkeypatch.setenv("JWT_SECRET", "short")
    assert_sentence(run("events"), 2, "JWT_SECRET must be at least")
    assert wire.asked == []
