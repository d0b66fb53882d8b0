"""Looking up, replaying and backfilling with the command, on real processes."""

import json
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import (
    RelayMaker,
    RelayProcess,
    await_that,
    find_free_port,
    strip_colours,
)
from tests.e2e.terminal import Terminal

RELAY = Path(sys.executable).with_name("relay")


def send_user(relay: RelayProcess, name: str = "ana") -> tuple[str, str]:
    """Send a user that Supabase then holds; return its id and the event's."""
    user_id = str(uuid.uuid4())
    row = {"id": user_id, "email": f"{user_id}@example.com", "username": name}
    event_id: str = relay.post("user.created", row).json()["event_id"]
    return user_id, event_id


def read_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def write_trips(path: Path, count: int) -> None:
    with path.open("w") as file:
        for _ in range(count):
            event = {"type": "trip.deleted", "timestamp": "2026-01-02T03:04:05Z"}
            file.write(json.dumps(event | {"data": {"id": str(uuid.uuid4())}}) + "\n")


@pytest.fixture
def relay_without_supabase(make_relay: RelayMaker) -> RelayProcess:
    return make_relay(
        SUPABASE_URL=f"http://127.0.0.1:{find_free_port()}", SUPABASE_SECRET_KEY="sb_secret_x"
    )


def test_events_finds_events_by_every_filter(relay: RelayProcess) -> None:
    user_id, event_id = send_user(relay)
    late = relay.post("user.deleted", {"id": user_id}, timestamp="2020-01-02T03:04:05Z").json()
    filters = ("--entity", f"user/{user_id}", "--since", "15m", "--type", "user.*", "--json")
    listed = relay.run("events", *filters)
    assert listed.returncode == 0, listed.stderr
    assert [(event["event_id"], event["status"]) for event in read_lines(listed.stdout)] == [
        (late["event_id"], "superseded"),
        (event_id, "applied"),
    ]
    only = read_lines(relay.run("events", *filters, "--status", "superseded").stdout)
    assert [event["event_id"] for event in only] == [late["event_id"]]
    shown = relay.run("events", late["event_id"])
    assert "replaced this one; the user is applied." in shown.stdout
    assert f"user/{user_id}" in shown.stdout


def test_events_lists_more_than_one_page(relay: RelayProcess) -> None:
    path = relay.folder / "trips.ndjson"
    write_trips(path, 450)
    assert relay.run("send", "--file", str(path)).returncode == 0
    listed = read_lines(relay.run("events", "-n", "450", "--type", "trip.*", "--json").stdout)
    assert len({event["event_id"] for event in listed}) == 450


def test_events_into_a_closed_pipe_prints_no_traceback(relay: RelayProcess) -> None:
    path = relay.folder / "piped.ndjson"
    write_trips(path, 2000)
    relay.run("send", "--file", str(path))
    with subprocess.Popen(  # noqa: S603
        [RELAY, "events", "-n", "2000", "--json"],
        env=relay.environment(),
        cwd=relay.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        listing.stdout.readline()
        listing.stdout.close()
        said = listing.stderr.read()
        listing.wait(30)
    assert said == b""


@pytest.mark.parametrize("columns", [80, 160])
def test_events_at_a_terminal_show_ids_that_other_options_accept(
    relay: RelayProcess, columns: int
) -> None:
    ids = {"trip_id": str(uuid.uuid4()), "user_id": str(uuid.uuid4())}
    sent = relay.post("membership.deleted", ids).json()
    with Terminal(relay, ["events", "-n", "5"], columns) as terminal:
        assert terminal.end() == 0
    (entity,) = re.findall(rf"^  entity +(membership/{ids['trip_id']}/\S+)$", terminal.shown, re.M)
    assert re.search(rf"^  event +{sent['event_id']}$", terminal.shown, re.M)
    listed = read_lines(relay.run("events", "--entity", entity, "--json").stdout)
    assert [event["event_id"] for event in listed] == [sent["event_id"]]


def test_replay_repairs_a_row_deleted_in_supabase(
    relay: RelayProcess, service_role: httpx.Client
) -> None:
    user_id, event_id = send_user(relay)
    service_role.delete("users", params={"id": f"eq.{user_id}"}).raise_for_status()
    done = relay.run("replay", event_id, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout)
    assert (last["status"], last["entities"], last["applied"]) == ("completed", 1, 1)
    rows = service_role.get("users", params={"id": f"eq.{user_id}"}).json()
    assert [row["username"] for row in rows] == ["ana"]
    shown = relay.run("replay", "--show", last["replay_id"])
    assert "1 event of 1 entity: 1 applied" in strip_colours(shown.stdout)
    listed = read_lines(relay.run("replay", "--list", "--json").stdout)
    assert listed[0]["replay_id"] == last["replay_id"]


def test_replay_by_any_criteria_is_confirmed(relay: RelayProcess) -> None:
    user_id, event_id = send_user(relay)
    until = "2999-12-31T23:59:59.123456789+01:00"
    for criteria in (
        (event_id, event_id, "--status", "applied"),
        ("--entity", f"user/{user_id.upper()}", "--type", "user.*", "--type", "trip.deleted"),
        ("--since", "1h", "--until", until, "--entity", f"user/{user_id}"),
        ("--since", "0001-01-01T00:00:00+14:00", "--entity", f"user/{user_id}"),
    ):
        done = relay.run("replay", *criteria, "--yes", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["status"] == "completed"


def test_replay_of_an_unknown_event_names_it(relay: RelayProcess) -> None:
    done = relay.run("replay", "nothing", "--yes")
    assert done.returncode == 1
    assert "/event_ids/0" in done.stderr


def test_replay_at_a_terminal_counts_and_asks_for_confirmation(relay: RelayProcess) -> None:
    _, event_id = send_user(relay)
    with Terminal(relay, ["replay", event_id]) as terminal:
        terminal.await_shown("Replay? [y/N]")
        assert "1 event of 1 entity: the relay will write each entity" in terminal.shown
        terminal.type("n\n")
        assert terminal.end() == 1
        assert "Nothing is replayed." in terminal.shown
    with Terminal(relay, ["replay", event_id]) as terminal:
        terminal.await_shown("Replay? [y/N]")
        terminal.type("y\n")
        assert terminal.end() == 0
        assert "completed  1 event of 1 entity: 1 applied" in terminal.shown


def test_replay_continues_after_ctrl_c_and_can_be_shown(
    relay_without_supabase: RelayProcess,
) -> None:
    relay = relay_without_supabase
    relay.post("trip.deleted", {"id": str(uuid.uuid4())}, wait=0)
    with Terminal(relay, ["replay", "--all", "-y"], 120) as terminal:
        terminal.await_shown("Supabase cannot be reached")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    (hint,) = (line for line in terminal.shown.splitlines() if "Progress: relay" in line)
    shown = relay.run(*hint.split("relay ")[-1].split())
    assert "1 pending" in strip_colours(shown.stdout)


def test_operator_with_another_secret_gets_a_reason(relay: RelayProcess) -> None:
    done = subprocess.run(  # noqa: S603
        [RELAY, "events"],
        env=relay.environment() | {"JWT_SECRET": "another secret than the relay has, long enough"},
        cwd=relay.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not accept the token" in done.stderr


def test_operator_with_a_token_of_another_scope_gets_the_needed_scope(relay: RelayProcess) -> None:
    token = relay.run("token", "--scope", "events:read").stdout.strip()
    assert relay.run("events", "--token", token).returncode == 0
    done = relay.run("replay", "--list", "--token", token)
    assert done.returncode == 1
    assert "lacks the scope replay:write" in done.stderr


def test_file_is_sent_again_after_a_kill_and_every_line_arrives_once(
    own_relay: RelayProcess,
) -> None:
    path = own_relay.folder / "trips.ndjson"
    write_trips(path, 20_000)
    sending = subprocess.Popen(  # noqa: S603
        [RELAY, "send", "--file", path],
        env=own_relay.environment(),
        cwd=own_relay.folder,
    )
    await_that(lambda: bool(own_relay.run("events", "-n", "1").stdout), 30)
    sending.send_signal(signal.SIGKILL)
    assert sending.wait(30) == -signal.SIGKILL
    done = own_relay.run("send", "--file", str(path), "--json")
    assert done.returncode == 0, done.stderr
    tally = json.loads(done.stdout)
    assert tally["duplicate"] > 0
    assert tally["accepted"] + tally["duplicate"] == tally["lines"] == 20_000
    again = json.loads(own_relay.run("send", "--file", str(path), "--json").stdout)
    assert again["duplicate"] == 20_000


def test_file_is_sent_through_a_restart_of_the_relay(own_relay: RelayProcess) -> None:
    path = own_relay.folder / "trips.ndjson"
    write_trips(path, 3000)
    own_relay.stop(signal.SIGKILL)
    with Terminal(own_relay, ["send", "--file", str(path)], 120) as terminal:
        terminal.await_shown("retrying in")
        own_relay.start()
        assert terminal.end() == 0
    assert "3,000 lines: 3,000 accepted" in terminal.shown


def test_events_from_standard_input_are_sent_and_invalid_ones_reported(relay: RelayProcess) -> None:
    good = {"type": "trip.deleted", "timestamp": "2026-01-02T03:04:05Z"}
    lines = [
        json.dumps(good | {"data": {"id": str(uuid.uuid4())}}),
        json.dumps(good | {"data": {"id": "nobody"}}),
        # Not nested too deeply as a line, but inside a batch: the other lines are sent.
        '{"type":"trip.deleted","data":' + "[" * 985 + "]" * 985 + "}",
        "nonsense",
    ]
    rejects = relay.folder / "rejects.ndjson"
    sent = relay.run(
        "send", "--file", "-", "--rejects", str(rejects), standard_input="\n".join(lines)
    )
    assert sent.returncode == 1
    assert "4 lines: 1 accepted, 3 invalid" in strip_colours(sent.stdout)
    assert "line 2: invalid: /data/id must be a UUID" in sent.stderr
    written = read_lines(rejects.read_text())
    assert [reject["line"] for reject in written] == [2, 3, 4]
    # Once fixed, a line of the file of rejects can be sent.
    fixed = written[0] | {"data": {"id": str(uuid.uuid4())}}
    again = relay.run("send", "--file", "-", "--json", standard_input=json.dumps(fixed))
    assert json.loads(again.stdout)["accepted"] == 1
