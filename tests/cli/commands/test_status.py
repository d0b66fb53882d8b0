"""`relay status`, against a fake relay."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.cli.output.console import output
from tests.api.relay_harness import USER
from tests.cli.conftest import RunCommand
from tests.cli.documents import make_event
from tests.cli.wire import Answer, Asked, Wire, document, problem

REASON = "unreachable or failing: ConnectError, All connection attempts failed"


def make_health(status: str = "ok", reason: str | None = None, **changes: Any) -> dict[str, Any]:
    """Make the health of a relay."""
    return {
        "status": status,
        "version": "1.2.3",
        "checks": {
            "store": {"status": "ok", "reason": None},
            "dispatcher": {"status": "ok", "reason": None},
            "supabase": {"status": status, "reason": reason},
        },
        "backlog": {
            "pending": 0,
            "oldest_pending_seconds": 0,
            "oldest_removal_seconds": 0,
            "dead": 0,
        },
        "drift": {
            "status": "equal",
            "age_seconds": 240,
            "leaks": 0,
            "denies": 0,
            "other": 0,
            "plan_id": None,
            "failure": None,
        },
    } | changes


def make_status(**changes: Any) -> dict[str, Any]:
    """Make the status of a relay."""
    return {
        "version": "1.2.3",
        "at": "2026-01-02T03:04:10Z",
        "replica": "relay-b/1",
        "leader": "relay-a/1",
        "circuit_breaker": {
            "is_open": False,
            "opened_at": None,
            "next_probe_at": None,
            "code": None,
            "message": None,
        },
        "held_rows": [],
        "dead": [],
        "revocations": {
            "revocations": 1204,
            "unapplied": 0,
            "p50_seconds": 0.031,
            "p95_seconds": 0.084,
            "p99_seconds": 4.2,
            "maximum_seconds": 312.4,
        },
        "events": [make_event()],
    } | changes


OUTAGE = (
    make_health(
        "degraded",
        REASON,
        backlog={
            "pending": 1200,
            "oldest_pending_seconds": 130,
            "oldest_removal_seconds": 61,
            "dead": 12,
        },
        drift={
            "status": "differs",
            "age_seconds": 900,
            "leaks": 1,
            "denies": 0,
            "other": 2,
            "plan_id": "3c34c4c09659",
            "failure": None,
        },
    ),
    make_status(
        circuit_breaker={
            "is_open": True,
            "opened_at": "2026-01-02T03:01:10Z",
            "next_probe_at": "2026-01-02T03:04:22Z",
            "code": "ConnectError",
            "message": "All connection attempts failed",
        },
        held_rows=[{"kind": "trip", "is_delete": False, "next_trial_at": "2026-01-02T03:04:15Z"}],
        dead=[
            {"kind": "user", "code": "23514", "message": 'violates "a"\x1b[31m', "entities": 7},
            {"kind": "trip", "code": "22001", "message": "too long", "entities": 2},
        ],
        revocations={
            "revocations": 3,
            "unapplied": 1,
            "p50_seconds": 0.031,
            "p95_seconds": 61,
            "p99_seconds": 61,
            "maximum_seconds": 61,
        },
        events=[
            make_event("evt_2", "pending", next_attempt_at="2026-01-02T03:04:22Z"),
            make_event("evt_1", "dead", last_error_code="23514", last_error="violates"),
        ],
    ),
)
"""The health and the status of a relay in trouble."""


def answer_both(
    health: dict[str, Any], status: dict[str, Any] | Answer | None = None, code: int = 200
) -> Callable[[Asked], Answer]:
    """Answer `/health` and `/status`."""

    def answer(asked: Asked) -> Answer:
        if asked.path == "/health":
            assert asked.bearer == ""
            return document(health, code)
        assert asked.path == "/status"
        assert asked.bearer
        return status if isinstance(status, Answer) else document(status or make_status())

    return answer


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print as at a terminal of 80 columns and 24 lines, without colours."""
    monkeypatch.setattr(output, "_force_terminal", True)
    monkeypatch.setattr(output, "no_color", True)
    monkeypatch.setattr(output, "_color_system", None)
    monkeypatch.setattr(output, "_width", 80)
    monkeypatch.setattr(output, "_height", 24)


def test_status_of_a_relay_that_is_well_has_exit_code_0(wire: Wire, run: RunCommand) -> None:
    wire.answers = [answer_both(make_health())]
    done = run("status")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"OK  2026-01-02 03:04:10 UTC  relay 1.2.3 at {wire.url}",
        "  breaker      closed",
        "  backlog      0 pending, 0 dead",
        "  revocations  last hour: 1,204; lag p50 31 ms, p95 84 ms, p99 4.2 s, max 5 min",
        "  leader       relay-a/1; relay-b/1 responds",
        "  drift        none, checked 4 min ago",
        "",
        "Latest events",
        "  03:04:08  applied     membership.created  evt_1",
    ]


@pytest.mark.usefixtures("terminal")
def test_status_during_an_outage_is_one_screen_with_exit_code_1(
    wire: Wire, run: RunCommand
) -> None:
    wire.answers = [answer_both(*OUTAGE)]
    done = run("status")
    assert (done.code, done.err) == (1, "")
    lines = done.out.splitlines()
    assert lines == [
        f"DEGRADED  2026-01-02 03:04:10 UTC  relay 1.2.3 at {wire.url}",
        "  supabase     unreachable or failing: ConnectError, All connection attempts",
        "               failed",
        "  breaker      open for 3 min; next probe in 12 s",
        "  held         writes of trips; next trial in 5.0 s",
        "  backlog      1,200 pending, oldest 2 min, oldest revocation 61 s, 12 dead",
        "  revocations  last hour: 3, 1 still exposed; lag p50 31 ms, p95 61 s, p99 61 s,",
        "               max 61 s",
        "  leader       relay-a/1; relay-b/1 responds",
        "  drift        1 leak, 0 denies, 2 other, checked 15 min ago: relay reconcile",
        "",
        "Dead by cause",
        '       7  user 23514: violates "a" [31m',
        "       2  trip 22001: too long",
        "       3  others: relay events --status dead",
        "",
        "Latest events",
        "  03:04:08  pending     membership.created  next attempt in 12 s  evt_2",
        "  03:04:08  dead        membership.created  23514  evt_1",
    ]
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("terminal")
def test_status_at_a_terminal_is_never_larger_than_it(wire: Wire, run: RunCommand) -> None:
    health, status = OUTAGE
    long = "a reason that is far too long for one line, " * 9
    checks = {name: {"status": "degraded", "reason": long} for name in health["checks"]}
    events = [make_event("e" * 200, "pending") for _ in range(5)]
    dead = [{"kind": "user", "code": f"2351{n}", "message": long, "entities": 1} for n in range(5)]
    wire.answers = [
        answer_both(health | {"checks": checks}, status | {"events": events, "dead": dead})
    ]
    lines = run("status").out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80


def test_status_of_a_relay_that_is_down_has_exit_code_2(wire: Wire, run: RunCommand) -> None:
    backlog = make_health()["backlog"] | {"pending": None, "dead": None}
    health = make_health("down", "it failed", backlog=backlog)
    unavailable = problem(503, "store-unavailable", "The store could not commit.")
    wire.answers = [answer_both(health, unavailable, 503)]
    done = run("status")
    assert done.code == 2
    assert done.out.startswith("DOWN  ")
    assert "backlog      unknown: the store cannot be read" in done.out
    assert "503 store-unavailable" in done.out


def test_status_of_an_unreachable_relay_has_exit_code_2(run: RunCommand) -> None:
    done = run("status", "--url", "http://127.0.0.1:9")
    assert done.code == 2
    assert done.out.startswith("UNREACHABLE  ")
    assert "no relay responds at http://127.0.0.1:9" in done.out


def test_status_behind_a_proxy_without_a_relay_has_exit_code_2(wire: Wire, run: RunCommand) -> None:
    wire.answers = [Answer(502, b"<html>", {"content-type": "text/html"})]
    done = run("status")
    assert done.code == 2
    assert "502 Bad Gateway" in done.out


def test_status_without_a_token_shows_health_and_what_it_lacks(
    wire: Wire, run: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JWT_SECRET")
    wire.answers = [answer_both(make_health())]
    done = run("status")
    assert done.code == 0
    assert "backlog      0 pending, 0 dead" in done.out
    assert "not shown    breaker, revocations, leader, events: an operator's token" in done.out
    assert [asked.path for asked in wire.asked] == ["/health"]


def test_status_with_a_token_without_the_scope_says_so(wire: Wire, run: RunCommand) -> None:
    wire.answers = [answer_both(make_health(), problem(403, "scope-missing"))]
    done = run("status", "--token", "abc")
    assert done.code == 0
    assert "the token lacks the scope events:read" in done.out


def test_status_with_a_token_that_is_none_is_a_usage_error(wire: Wire, run: RunCommand) -> None:
    wire.answers = [answer_both(make_health())]
    assert run("status", "--token", "a b").code == 2


def test_status_as_json_has_both_documents(wire: Wire, run: RunCommand) -> None:
    health, status = OUTAGE
    wire.answers = [answer_both(health | {"new": "field"}, status)]
    done = run("status", "--json")
    assert done.code == 1
    assert json.loads(done.out) == {
        "health": health | {"new": "field"},
        "status": status,
        "unreachable": None,
        "missing": None,
    }


def test_status_shows_no_control_characters(wire: Wire, run: RunCommand) -> None:
    evil = "\x1b]0;title\x07\n"
    wire.answers = [
        answer_both(
            make_health("degraded", evil, version=evil),
            make_status(
                leader=evil,
                replica=evil,
                events=[make_event(f"{evil}{USER}") | {"type": evil, "status": evil}],
            ),
        )
    ]
    done = run("status")
    assert not {"\x1b", "\x07"} & set(done.out)
