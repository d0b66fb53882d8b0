"""`relay replay`, against a fake relay."""

import json
from typing import Any

import pytest

from tests.api.relay_harness import TRIP, USER
from tests.cli.conftest import RunCommand
from tests.cli.documents import REPLAY, make_match, make_replay
from tests.cli.wire import Wire, document, problem

START = document(make_match(), 202)


def test_replay_posts_every_criterion_and_waits_until_it_is_settled(
    wire: Wire, run: RunCommand
) -> None:
    filter_ = {
        "event_ids": ["evt_1", "evt_2"],
        "since": "2026-01-02T03:04:05Z",
        "types": ["user.created", "user.updated", "user.deleted"],
        "entity": {"kind": "membership", "key": f"{TRIP}/{USER}"},
        "status": "dead",
        "error_code": "23514",
        "error": "violates a check",
    }
    wire.answers = [
        document(make_match(), 202),
        document(make_replay(filter=filter_, status="running", marked=0, applied=0, waiting=0)),
        document(make_replay(filter=filter_, status="running", marked=1, applied=0, waiting=1)),
        document(make_replay(filter=filter_, applied=1, waiting=1)),
        document(make_replay(filter=filter_)),
    ]
    done = run(
        *("replay", "evt_1", "evt_2", "--since", "2026-01-02T03:04:05Z", "--status", "dead"),
        *("--type", "user.*", "--entity", f"membership/{TRIP}/{USER}", "--yes"),
        *("--error-code", "23514", "--error", "violates a check"),
    )
    assert done.code == 0
    assert (wire.asked[0].method, wire.asked[0].path) == ("POST", "/replay")
    assert wire.asked[0].body == {
        "event_ids": ["evt_1", "evt_2"],
        "since": "2026-01-02T03:04:05Z",
        "types": ["user.*"],
        "entity": {"kind": "membership", "key": f"{TRIP}/{USER}"},
        "status": "dead",
        "error_code": "23514",
        "error": "violates a check",
    }
    assert [asked.path for asked in wire.asked[1:]] == [f"/replay/{REPLAY}"] * 4
    assert done.out == "completed  3 events of 2 entities: 2 applied\n"
    assert f"Replay {REPLAY}: 3 events of 2 entities." in done.err


def test_replay_with_dead_entities_exits_with_1_and_says_where_to_look(
    wire: Wire, run: RunCommand
) -> None:
    last = make_replay(applied=0, dead=1, superseded=1)
    wire.answers = [document(make_match(), 202), document(last)]
    done = run("replay", "--all", "-y")
    assert wire.asked[0].body == {"all": True}
    assert done.code == 1
    assert "0 applied, 1 dead, 1 superseded by a later replay" in done.out
    assert "relay events --status dead" in done.err


def test_replay_that_requeued_fewer_than_counted_is_complete(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_match(), 202), document(make_replay(marked=1, applied=1))]
    assert run("replay", "--all", "-y").out == "completed  3 events of 2 entities: 1 applied\n"


def test_replay_as_json_prints_the_last_state(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_match(), 202), document(make_replay())]
    assert json.loads(run("replay", "--all", "-y", "--json").out) == make_replay()


def test_replay_that_fails_exits_with_1(wire: Wire, run: RunCommand) -> None:
    wire.answers = [
        document(make_match(), 202),
        document(make_replay(status="failed", marked=1, applied=0, waiting=1)),
    ]
    done = run("replay", "--all", "-y")
    assert done.code == 1
    assert "could not requeue every entity" in done.err
    assert "1 not requeued yet" in done.out


def test_replay_is_watched_during_a_restart_of_the_relay(wire: Wire, run: RunCommand) -> None:
    wire.answers = [
        document(make_match(), 202),
        problem(503, "store-unavailable"),
        problem(429, "overloaded"),
        document(make_replay()),
    ]
    assert run("replay", "--all", "-y").code == 0


def test_replay_without_progress_exits_with_4_after_the_stall_timeout(
    wire: Wire, run: RunCommand
) -> None:
    health = {"checks": {"supabase": {"status": "fail", "reason": "Supabase is unreachable."}}}
    standing = make_replay(applied=1, waiting=1)
    wire.answers = [
        lambda asked: document(
            make_match()
            if asked.method == "POST"
            else (health if asked.path == "/health" else standing)
        )
    ]
    done = run("replay", "--all", "-y", "--stall-timeout", "1")
    assert done.code == 4
    assert "1 entity pending" in done.err
    assert "Supabase is unreachable." in done.err
    assert f"relay replay --show {REPLAY}" in done.err


def test_replay_without_waiting_says_how_to_show_the_progress(wire: Wire, run: RunCommand) -> None:
    wire.answers = [lambda asked: START if asked.method == "POST" else document(make_replay())]
    done = run("replay", "--all", "-y", "--no-wait")
    assert (done.code, len(wire.asked)) == (0, 1)
    assert REPLAY in done.out
    assert f"relay replay --show {REPLAY}" in done.err
    assert json.loads(run("replay", "--all", "-y", "--no-wait", "--json").out) == make_match()


def test_replay_dry_run_only_counts(wire: Wire, run: RunCommand) -> None:
    match = make_match(replay_id=None, matched_events=1, entities=1, status="dry_run")
    wire.answers = [document(match)]
    done = run("replay", "--status", "dead", "--dry-run")
    assert (done.code, done.out) == (0, "1 event of 1 entity would be replayed.\n")
    assert [asked.body for asked in wire.asked] == [{"status": "dead", "dry_run": True}]
    assert json.loads(run("replay", "--all", "--dry-run", "--json").out) == match


def test_replay_without_terminal_and_confirmation_is_a_usage_error(
    wire: Wire, run: RunCommand
) -> None:
    done = run("replay", "--all")
    assert (done.code, wire.asked) == (2, [])
    assert "add --yes" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "criteria are missing"),
        (("--all", "--status", "dead"), "--all goes without other criteria"),
        (("--show", REPLAY, "evt_1"), "go without criteria"),
        (("--show", REPLAY, "--list"), "go without criteria"),
    ],
)
def test_replay_with_contradictory_options_is_a_usage_error(
    wire: Wire, run: RunCommand, arguments: tuple[str, ...], sentence: str
) -> None:
    done = run("replay", *arguments)
    assert (done.code, wire.asked) == (2, [])
    assert sentence in done.err


@pytest.mark.parametrize(
    ("filter_", "shown"),
    [
        ({}, "everything"),
        ({"status": "dead", "types": ["user.created"]}, "status dead; types user.created"),
        ({"event_ids": ["a", "b", "c", "d"]}, "event_ids a, b, c, …"),
        ({"entity": {"kind": "user", "key": USER}}, f"entity user/{USER}"),
    ],
)
def test_replay_shown_names_requester_and_filter(
    wire: Wire, run: RunCommand, filter_: dict[str, Any], shown: str
) -> None:
    wire.answers = [document(make_replay(filter=filter_))]
    lines = run("replay", "--show", REPLAY).out.splitlines()
    assert [line.split(None, 1)[1].strip() for line in lines[1:]] == [
        "2026-01-02 03:04:05 UTC",
        "jane",
        shown,
    ]


def test_replay_that_is_unknown_is_a_sentence(wire: Wire, run: RunCommand) -> None:
    wire.answers = [problem(404, "replay-not-found", "No replay is stored under this id.")]
    done = run("replay", "--show", "nothing")
    assert done.code == 1
    assert "No replay is stored under this id." in done.err


def test_replays_are_listed_newest_first(wire: Wire, run: RunCommand) -> None:
    dead = {"status": "dead"}
    replays = [
        make_replay(filter=dead),
        make_replay(replay_id="older", requested_by=None, dead=1, filter=dead),
    ]
    wire.answers = [document({"replays": replays, "next_cursor": None})]
    done = run("replay", "--list")
    assert [line.split("\t") for line in done.out.splitlines()] == [
        ["2026-01-02T03:04:05Z", "completed", REPLAY, "2", "2", "0", "0", "jane", "status dead"],
        ["2026-01-02T03:04:05Z", "completed", "older", "2", "2", "1", "0", "", "status dead"],
    ]
    listed = run("replay", "--list", "--json").out.splitlines()
    assert [json.loads(line) for line in listed] == replays


def test_replay_of_another_id_is_rejected(wire: Wire, run: RunCommand) -> None:
    wire.answers = [document(make_replay(replay_id="another"))]
    done = run("replay", "--show", REPLAY)
    assert (done.code, done.out) == (3, "")
    assert f"responded to /replay/{REPLAY} with another" in done.err
    wire.answers = [document(make_replay())]
    assert run("replay", "--show", REPLAY.upper()).code == 0
