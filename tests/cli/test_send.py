"""`relay send` of one event, against a wire."""

import socket

import pytest

from tests.api.running import USER
from tests.cli.conftest import RunCommand
from tests.cli.wire import Answer, Wire, document, problem

EVENT = ("send", "user.deleted", f"id={USER}")


def test_send_says_what_became_of_it(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document({"event_id": "evt_[red]", "status": "accepted"}, 202)]
    done = run(*EVENT, "--id", "evt_[red]")
    assert done.code == 0
    assert done.out.startswith("202 accepted evt_[red] ")
    assert wire.asked[0].headers["webhook-id"] == "evt_[red]"


@pytest.mark.parametrize(
    ("answer", "code", "sentence"),
    [
        (problem(409, "event-id-conflict", "Another [body]."), 1, "409 event-id-conflict: Another"),
        (problem(503, "store-unavailable", "Not now."), 3, "503 store-unavailable: Not now."),
        (problem(401, "unauthenticated"), 1, "WEBHOOK_SECRETS here and there"),
        (Answer(502, b"<html>", {"content-type": "text/html"}), 3, "something else: 502"),
        (Answer(307, b"", {"location": "https://relay.test"}), 3, "give that to --url"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_send_that_is_not_taken_is_a_sentence(
    wire: Wire, run: RunCommand, answer: Answer, code: int, sentence: str, *, as_json: bool
) -> None:
    wire.answers = [answer]
    done = run(*EVENT, "--retry-seconds", "0", *["--json"] * as_json)
    assert (done.code, len(wire.asked)) == (code, 1)
    assert "Traceback" not in done.err
    if not as_json or "json" not in answer.headers.get("content-type", ""):
        assert sentence in done.err
    else:
        assert done.out.encode().strip() == answer.content


def test_send_to_nobody_is_a_sentence(run: RunCommand) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        done = run(*EVENT, "--url", url, "--retry-seconds", "0")
    assert done.code == 3
    assert done.err.startswith("relay: no relay answers at http://127.0.0.1:")


def test_send_of_a_field_without_a_value_is_refused(wire: Wire, run: RunCommand) -> None:
    done = run("send", "user.deleted", USER)
    assert (done.code, wire.asked) == (2, [])
    assert "FIELD=VALUE" in done.err
