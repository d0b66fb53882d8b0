"""`relay send --file`, against a fake relay."""

import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import RunCommand
from tests.cli.wire import Answer, Asked, Wire, document, problem


def write_events(count: int, *, path: str = "events.ndjson", first: int = 1) -> bytes:
    content = b"".join(b'{"id":"evt_%d"}\n' % n for n in range(first, first + count))
    Path(path).write_bytes(content)
    return content


def accept(asked: Asked) -> Answer:
    """Accept every event except those whose id names another status."""
    results: list[dict[str, Any]] = []
    for index, event in enumerate(asked.body["events"]):
        word = str(event["id"]).partition("-")[0]
        status = word if word in ("duplicate", "conflict", "invalid") else "accepted"
        result: dict[str, Any] = {"event_id": event["id"], "status": status}
        if status == "invalid":
            pointer = f"/events/{index}/data/id"
            result["errors"] = [{"pointer": pointer, "detail": "must be a UUID"}]
        results.append(result)
    return document({"results": results}, 202)


def ids(wire: Wire) -> Iterator[str]:
    return (event["id"] for asked in wire.asked for event in asked.body["events"])


def test_file_is_sent_in_batches_and_leaves_no_other_file(wire: Wire, run: RunCommand) -> None:
    write_events(2500)
    wire.answers = [accept]
    done = run("send", "--file", "events.ndjson", "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "lines": 2500,
        "accepted": 2500,
        "duplicate": 0,
        "conflict": 0,
        "invalid": 0,
    }
    assert [len(asked.body["events"]) for asked in wire.asked] == [1000, 1000, 500]
    assert list(ids(wire)) == [f"evt_{n}" for n in range(1, 2501)]
    assert [path.name for path in Path().iterdir()] == ["events.ndjson"]


def test_file_from_standard_input_is_sent(
    wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id":"a"}\n{"id":"b"}')))
    wire.answers = [accept]
    done = run("send", "--file", "-")
    assert done.code == 0
    assert done.out.startswith("2 lines: 2 accepted ")
    assert list(ids(wire)) == ["a", "b"]
    assert list(Path().iterdir()) == []


def test_file_with_rejected_lines_reports_each_and_sends_the_others(
    wire: Wire, run: RunCommand
) -> None:
    Path("events.ndjson").write_text(
        '{"id":"invalid-1","data":{"id":"7"}}\n\nnonsense\n{"id":"conflict-1"}\n'
        '{"id":"duplicate-1"}\n[1]\n{"id":"evt_1"}\n'
    )
    wire.answers = [accept]
    done = run("send", "--file", "events.ndjson", "--rejects", "rejects.ndjson")
    assert done.code == 1
    assert done.err.splitlines() == [
        "line 1: invalid: /data/id must be a UUID",
        "line 3: invalid: is not valid JSON",
        "line 4: conflict: this id was stored before with another body",
        "line 6: invalid: must be an object",
    ]
    assert "7 lines: 1 accepted, 1 duplicate, 1 conflict, 3 invalid" in done.out
    rejects = [json.loads(line) for line in Path("rejects.ndjson").read_text().splitlines()]
    assert rejects[0] == {
        "line": 1,
        "status": "invalid",
        "errors": [{"pointer": "/data/id", "detail": "must be a UUID"}],
        "id": "invalid-1",
        "data": {"id": "7"},
    }
    assert [(reject["line"], reject["status"]) for reject in rejects] == [
        (1, "invalid"),
        (3, "invalid"),
        (4, "conflict"),
        (6, "invalid"),
    ]
    assert (rejects[1]["text"], rejects[3]["text"]) == ("nonsense", "[1]")


def test_file_with_many_rejected_lines_shows_some_and_writes_all(
    wire: Wire, run: RunCommand
) -> None:
    Path("events.ndjson").write_text("x\n" * 3000)
    done = run("send", "--file", "events.ndjson", "--rejects", "rejects.ndjson")
    assert len(done.err.splitlines()) == 21
    assert "only counted" in done.err
    assert len(Path("rejects.ndjson").read_text().splitlines()) == 3000
    assert wire.asked == []


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_file_of_rejected_lines_can_only_be_read_by_the_owner(run: RunCommand, umask: int) -> None:
    Path("events.ndjson").write_text("broken\n")
    before = os.umask(umask)
    try:
        run("send", "--file", "events.ndjson", "--rejects", "rejects.ndjson")
    finally:
        os.umask(before)
    assert oct(Path("rejects.ndjson").stat().st_mode & 0o777) == "0o600"


def test_file_whose_sending_stopped_is_sent_again_from_its_beginning(
    wire: Wire, run: RunCommand
) -> None:
    Path("events.ndjson").write_bytes(b"broken\n" + write_events(2500) + b"nonsense\n")
    wire.answers = [accept, accept, problem(503, "store-unavailable", "Not now.")]
    arguments = ("send", "--file", "events.ndjson", "--rejects", "rejects.ndjson")
    stopped = run(*arguments, "--retry-seconds", "0")
    assert stopped.code == 3
    assert "Not now." in stopped.err
    assert "Lines up to 2,000 are done. Send the file again" in stopped.err
    wire.asked.clear()
    wire.answers = [accept]
    done = run(*arguments)
    assert list(ids(wire)) == [f"evt_{n}" for n in range(1, 2501)]
    assert "2,502 lines: 2,500 accepted, 2 invalid" in done.out
    rejects = [json.loads(line) for line in Path("rejects.ndjson").read_text().splitlines()]
    assert [reject["line"] for reject in rejects] == [1, 2502]


def test_file_is_retried_while_the_relay_is_unavailable_and_says_so(
    wire: Wire, run: RunCommand
) -> None:
    write_events(1)
    wire.answers = [problem(503, "store-unavailable", "Not now."), accept]
    done = run("send", "--file", "events.ndjson")
    assert done.code == 0
    assert "Not now; retrying in " in done.err


def test_file_whose_signature_is_rejected_stops_at_once(wire: Wire, run: RunCommand) -> None:
    write_events(1)
    wire.answers = [problem(401, "unauthenticated")]
    done = run("send", "--file", "events.ndjson")
    assert (done.code, len(wire.asked)) == (1, 1)
    assert "log says which." in done.err


def test_file_interrupted_by_ctrl_c_says_how_far_it_came(wire: Wire, run: RunCommand) -> None:
    write_events(1500)

    def press(asked: Asked) -> Answer:
        os.kill(os.getpid(), signal.SIGINT)
        return accept(asked)

    wire.answers = [accept, press]
    done = run("send", "--file", "events.ndjson")
    assert done.code == 130
    assert "Lines up to 1,000 are done. Send the file again" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--file", "missing.ndjson"), "missing.ndjson cannot be opened: No such file"),
        (("--file", "."), "cannot be opened: Is a directory"),
        (("--file", "events.ndjson", "--rejects", "events.ndjson"), "names the file of events"),
        (("--file", "events.ndjson", "--rejects", "no/where"), "no/where cannot be opened"),
        (("user.created", "--file", "events.ndjson"), "--file goes without TYPE"),
        (("--file", "events.ndjson", "--wait", "1"), "--file goes without TYPE"),
        (("--file", "events.ndjson", "--curl"), "--file goes without TYPE"),
        ((), "give the TYPE"),
        (("user.created", "--rejects", "x"), "--rejects goes with --file"),
    ],
)
def test_file_with_contradictory_options_is_not_sent(
    wire: Wire, run: RunCommand, arguments: tuple[str, ...], sentence: str
) -> None:
    content = write_events(3)
    done = run("send", *arguments)
    assert (done.code, wire.asked) == (2, [])
    assert sentence in done.err
    assert Path("events.ndjson").read_bytes() == content
