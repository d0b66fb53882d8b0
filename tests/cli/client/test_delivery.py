"""Only a response that names the event confirms it, against a real server."""

import json
from pathlib import Path

import pytest

from app.cli.client.delivery import BATCH_STATUSES, EVENT_STATUSES
from tests.api.relay_harness import USER
from tests.cli.conftest import RunCommand
from tests.cli.wire import WRONG_SUCCESSES, Answer, Asked, Wire, confirm, document, problem

EVENT = ("send", "user.deleted", f"id={USER}")


@pytest.mark.parametrize("name", WRONG_SUCCESSES)
def test_send_that_is_not_confirmed_is_sent_again_on_a_new_connection(
    wire: Wire, run: RunCommand, name: str
) -> None:
    wire.answers = [WRONG_SUCCESSES[name], confirm]
    done = run(*EVENT)
    assert done.code == 0
    first, second = wire.asked
    event_id = first.headers["webhook-id"]
    assert done.out.startswith(f"202 accepted {event_id} ")
    assert f"event {event_id} is not confirmed" in done.err
    assert "retrying in" in done.err
    assert (second.headers["webhook-id"], second.content) == (event_id, first.content)
    assert first.client_port != second.client_port


@pytest.mark.parametrize("as_json", [False, True])
def test_send_that_is_never_confirmed_quotes_the_response_and_says_what_to_do(
    wire: Wire, run: RunCommand, *, as_json: bool
) -> None:
    wire.answers = [WRONG_SUCCESSES["of health"]]
    done = run(*EVENT, "--id", "evt_1", "--retry-seconds", "0", *["--json"] * as_json)
    assert (done.code, done.out) == (3, "")
    for part in (
        "event evt_1 is not",
        '200 OK with {"status": "ok"}',
        "proxy",
        "relay events evt_1",
    ):
        assert part in done.err


def test_send_is_retried_while_the_relay_is_unavailable(wire: Wire, run: RunCommand) -> None:
    wire.answers = [problem(503, "store-unavailable", "Not now."), problem(408, "timeout"), confirm]
    done = run(*EVENT)
    assert (done.code, len(wire.asked)) == (0, 3)
    assert "Not now; retrying in " in done.err


def test_send_that_is_rejected_is_not_retried(wire: Wire, run: RunCommand) -> None:
    wire.answers = [problem(422, "input-invalid")]
    assert (run(*EVENT).code, len(wire.asked)) == (1, 1)


def confuse(asked: Asked) -> Answer:
    """Swap the results of the first two events of a batch."""
    results = [{"event_id": event["id"], "status": "accepted"} for event in asked.body["events"]]
    return document({"results": [results[1], results[0], *results[2:]]}, 202)


def shorten(asked: Asked) -> Answer:
    """Leave out the result of the last event of a batch."""
    results = [{"event_id": event["id"], "status": "accepted"} for event in asked.body["events"]]
    return document({"results": results[:-1]}, 202)


def omit_id(asked: Asked) -> Answer:
    results = [{"event_id": event["id"], "status": "accepted"} for event in asked.body["events"]]
    return document({"results": [*results[:-1], {"event_id": None, "status": "invalid"}]}, 202)


WRONG_BATCHES = {**WRONG_SUCCESSES, "swapped": confuse, "one missing": shorten, "no id": omit_id}


@pytest.mark.parametrize("name", WRONG_BATCHES)
def test_file_that_is_not_confirmed_is_sent_again_on_a_new_connection(
    wire: Wire, run: RunCommand, name: str
) -> None:
    Path("events.ndjson").write_text('{"id":"evt_a"}\n{"id":"evt_b"}\n{"id":"evt_c"}\n')
    wire.answers = [WRONG_BATCHES[name], confirm]
    done = run("send", "--file", "events.ndjson")
    assert done.code == 0
    assert done.out.startswith("3 lines: 3 accepted ")
    assert "the batch is not confirmed" in done.err
    first, second = wire.asked
    assert first.content == second.content
    assert first.client_port != second.client_port


def test_file_that_is_never_confirmed_says_how_far_it_came_and_quotes_the_response(
    wire: Wire, run: RunCommand
) -> None:
    Path("events.ndjson").write_text("".join(f'{{"id":"evt_{n}"}}\n' for n in range(1003)))
    wire.answers = [confirm, confuse]
    done = run("send", "--file", "events.ndjson", "--retry-seconds", "0")
    assert done.code == 3
    for part in ("responded 202", "evt_1001", "proxy"):
        assert part in done.err
    assert "Lines up to 1,000 are done. Send the file again" in done.err


def test_file_with_an_id_that_the_relay_cannot_repeat_is_confirmed(
    wire: Wire, run: RunCommand
) -> None:
    Path("events.ndjson").write_text('{"id":"evt_1"}\n{"id":"evt 2"}\n{"id":3}\n')
    errors = [{"pointer": "/events/1/id", "detail": "is odd"}]
    invalid = {"event_id": None, "status": "invalid", "errors": errors}
    accepted = {"event_id": "evt_1", "status": "accepted"}
    wire.answers = [document({"results": [accepted, invalid, invalid]}, 202)]
    done = run("send", "--file", "events.ndjson")
    assert (done.code, len(wire.asked)) == (1, 1)
    assert "line 2: invalid: /id is odd" in done.err


def test_confirming_statuses_are_those_of_the_contract() -> None:
    schemas = json.loads(Path(__file__).parents[3].joinpath("openapi/openapi.json").read_text())[
        "components"
    ]["schemas"]
    for name, statuses in (("Receipt", EVENT_STATUSES), ("BatchReceipt", BATCH_STATUSES)):
        assert schemas[name]["properties"]["status"]["enum"] == list(statuses)
