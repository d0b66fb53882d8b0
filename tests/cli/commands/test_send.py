"""`relay send` of one event, against a fake relay."""

import socket

import pytest

from tests.api.relay_harness import USER
from tests.cli.conftest import RunCommand
from tests.cli.documents import make_event
from tests.cli.wire import Answer, Wire, document, problem

EVENT = ("send", "user.deleted", f"id={USER}")


def test_send_prints_status_and_event_id(wire: Wire, run: RunCommand) -> None:
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
        (problem(401, "unauthenticated"), 1, "its WEBHOOK_SECRETS and this one"),
        (Answer(502, b"<html>", {"content-type": "text/html"}), 3, "is not a relay: 502"),
        (Answer(307, b"", {"location": "https://relay.test"}), 3, "give that to --url"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_send_that_fails_is_a_sentence(
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


def test_send_of_a_change_that_supabase_rejects_says_why_and_what_to_do(
    wire: Wire, run: RunCommand
) -> None:
    error = {"last_error_code": "23514", "last_error": "violates a check"}
    wire.answers = [
        document({"event_id": "evt_1", "status": "dead"}),
        document(make_event("evt_1", "dead", **error)),
    ]
    done = run(*EVENT, "--id", "evt_1", "--wait", "5")
    assert done.code == 1
    assert done.out.startswith("200 dead evt_1 ")
    assert done.err.splitlines() == [
        "relay: Supabase rejected the change",
        "  23514: violates a check",
        "  The relay no longer retries this change, as Supabase rejected it. Fix the cause, then:"
        " relay replay evt_1",
    ]


@pytest.mark.parametrize("status", ["accepted", "duplicate"])
def test_send_whose_wait_runs_out_exits_with_4_and_names_the_next_step(
    wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    wire.answers = [document({"event_id": "evt_1", "status": status}, 202)]
    done = run(*EVENT, "--id", "evt_1", "--wait", "5")
    assert done.code == 4
    assert done.err.splitlines() == [
        "relay: the change was not applied within 5 s",
        "  Why: relay events evt_1",
    ]


def test_send_to_an_unreachable_relay_is_a_sentence(run: RunCommand) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        done = run(*EVENT, "--url", url, "--retry-seconds", "0")
    assert done.code == 3
    assert done.err.startswith("relay: no relay responds at http://127.0.0.1:")


def test_send_of_a_field_without_a_value_is_a_usage_error(wire: Wire, run: RunCommand) -> None:
    done = run("send", "user.deleted", USER)
    assert (done.code, wire.asked) == (2, [])
    assert "FIELD=VALUE" in done.err
