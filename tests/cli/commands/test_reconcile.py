"""`relay reconcile` of Supabase, against a fake relay."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.auth.claims import Scope
from tests.api.relay_harness import TRIP, USER
from tests.cli.conftest import RunCommand, verify_token
from tests.cli.wire import Answer, Asked, Wire, document, problem

MEMBER = f"{TRIP}/{USER}"
LEAK: dict[str, Any] = {
    "kind": "membership",
    "key": MEMBER,
    "difference": "extra",
    "effect": "leaks",
    "origin": "removed_by_us",
    "columns": [],
    "repair": "delete",
    "note": None,
}
DENIED = LEAK | {
    "difference": "different",
    "effect": "denies",
    "origin": "changed_by_somebody_else",
    "columns": ["status"],
    "repair": "write",
}
STUCK = LEAK | {
    "kind": "user",
    "key": USER,
    "effect": "other",
    "origin": "unknown_to_us",
    "repair": "none",
    "note": "desired memberships refer to it: let the backend send it",
}


def make_report(*differences: dict[str, Any], rows: int = 400, **changes: Any) -> dict[str, Any]:
    """Make the report of a finished check."""
    tables = [
        {
            "kind": kind,
            "table": f"public.{table}",
            "rows": rows,
            **{
                effect: sum(
                    (each["kind"], each["effect"]) == (kind, effect) for each in differences
                )
                for effect in ("leaks", "denies", "other")
            },
        }
        for kind, table in (
            ("membership", "trip_memberships"),
            ("trip", "trips"),
            ("user", "users"),
        )
    ]
    return {
        "reconcile_id": "",
        "requested_at": "2026-01-02T03:04:05Z",
        "requested_by": "jane",
        "finished_at": "2026-01-02T03:04:06Z",
        "status": "completed",
        "failure": None,
        "tables": tables,
        "differences": len(differences),
        "plan_id": "0123456789ab" if differences else None,
        "removals": 0,
        "repair": "none",
        "repaired": 0,
        "refusal": None,
    } | changes


@dataclass
class Checks:
    """Gives the report of each check in turn, after a first look at it running.

    Attributes:
        reports: of the checks.
        differences: of each check.
        pending: the backlogs that `/health` shows, in turn.
    """

    reports: list[dict[str, Any]]
    differences: list[tuple[dict[str, Any], ...]]
    pending: list[int] = field(default_factory=lambda: [0])
    asked: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0

    @property
    def latest(self) -> dict[str, Any]:
        report = self.reports[len(self.asked) - 1]
        return report | {"reconcile_id": f"00000000-0000-4000-8000-00000000000{len(self.asked)}"}

    def __call__(self, asked: Asked) -> Answer:
        running: dict[str, Any] = {
            "status": "running",
            "finished_at": None,
            "tables": [],
            "differences": 0,
        }
        if asked.method == "POST":
            self.asked.append(asked.body)
            self.looks = 0
            return document(self.latest | running, 202)
        if asked.path == "/health":
            pending = self.pending.pop(0) if len(self.pending) > 1 else self.pending[0]
            return document({"backlog": {"pending": pending}})
        path = f"/reconcile/{self.latest['reconcile_id']}"
        if asked.path == path:
            self.looks += 1
            return document(self.latest | (running if self.looks == 1 else {}))
        assert asked.path == f"{path}/differences"
        found = self.differences[len(self.asked) - 1]
        number = int(asked.query.get("cursor", ["0"])[0])
        cursor = str(number + 1) if number + 1 < len(found) else None
        return document({"differences": found[number : number + 1], "next_cursor": cursor})


def serve(wire: Wire, *checks: tuple[dict[str, Any], ...], **changes: Any) -> Checks:
    """Serve checks that find these differences; `changes` go to every report."""
    served = Checks([make_report(*found, **changes) for found in checks], list(checks))
    wire.answers = [served]
    return served


def test_equal_sides_end_with_0(wire: Wire, run: RunCommand) -> None:
    served = serve(wire, ())
    done = run("reconcile")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Supabase equals the desired state: 1,200 rows.\n"
    assert served.asked == [{"repair": False}]


def test_differences_are_shown_by_effect_with_the_next_command(wire: Wire, run: RunCommand) -> None:
    served = serve(wire, (LEAK, DENIED, STUCK), removals=1)
    done = run("reconcile")
    assert done.code == 1
    assert done.out == (
        "Supabase differs from the desired state: 3 differences.\n"
        "                           rows  leaks  denies  other\n"
        "  public.trip_memberships   400      1       1      0\n"
        "  public.trips              400      0       0      0\n"
        "  public.users              400      0       0      1\n"
        "\n"
        "leaks: 1, access that should be revoked\n"
        f"  membership/{MEMBER}\n"
        "    extra; removed by the relay; repair: delete\n"
        "\n"
        "denies: 1, access that should be granted\n"
        f"  membership/{MEMBER}\n"
        "    different (status); changed by somebody else; repair: write\n"
        "\n"
        "other: 1, no effect on access\n"
        f"  user/{USER}\n"
        "    extra; unknown to the relay; not repaired: desired memberships refer to it: let the"
        " backend send it\n"
        "\n"
        "Plan 0123456789ab: 1 removal.\n"
    )
    assert done.err == "Next: relay reconcile --repair\n"
    assert served.asked == [{"repair": False}]


def test_twenty_differences_of_each_effect_are_shown(wire: Wire, run: RunCommand) -> None:
    serve(wire, (LEAK,) * 23 + (STUCK,) * 21)
    done = run("reconcile")
    assert done.out.count(MEMBER) == done.out.count(f"user/{USER}") == 20
    assert "… and 3 more; --output FILE writes all of them" in done.out
    assert "… and 1 more; --output FILE writes all of them" in done.out


def test_every_difference_is_written_to_a_private_file(
    wire: Wire, run: RunCommand, tmp_path: Path
) -> None:
    serve(wire, (LEAK, DENIED, STUCK))
    run("reconcile", "--output", "differences.ndjson")
    path = tmp_path / "differences.ndjson"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [LEAK, DENIED, STUCK]
    assert path.stat().st_mode & 0o777 == 0o600


def test_automatic_repair_is_mentioned(wire: Wire, run: RunCommand) -> None:
    serve(wire, (LEAK,), repair="automatic", repaired=1)
    assert "The relay repairs 1 leak by itself.\n" in run("reconcile").out


def test_plan_beyond_the_limit_is_to_be_approved(wire: Wire, run: RunCommand) -> None:
    serve(wire, (LEAK,), removals=11)
    done = run("reconcile")
    assert "A repair needs approval: the repair would remove 11 rows" in done.out
    assert done.err == "Next: relay reconcile --repair --approve 0123456789ab\n"


def test_repair_is_requested_and_checked(wire: Wire, run: RunCommand) -> None:
    served = serve(wire, (LEAK, DENIED), (LEAK, DENIED), (), repaired=2)
    served.pending = [2, 1, 0]
    done = run("reconcile", "--repair", "--yes", "--max-removals", "1%")
    assert done.code == 0
    assert done.out.endswith(
        "2 entities repaired. Second comparison:\nSupabase equals the desired state: 1,200 rows.\n"
    )
    assert served.asked == [
        {"repair": False},
        {"repair": True, "max_removals": "1%"},
        {"repair": False},
    ]
    assert [asked.path for asked in wire.asked].count("/health") == 3


def test_repair_that_leaves_differences_ends_with_1(wire: Wire, run: RunCommand) -> None:
    serve(wire, (LEAK, STUCK), (LEAK, STUCK), (STUCK,))
    done = run("reconcile", "--repair", "--yes")
    assert done.code == 1
    assert done.out.count("not repaired: desired memberships refer to it") == 2


def test_approved_plan_is_passed_on(wire: Wire, run: RunCommand) -> None:
    served = serve(wire, (LEAK,), (LEAK,), (), removals=11)
    done = run("reconcile", "--repair", "--yes", "--approve", "0123456789ab")
    assert done.code == 0
    assert served.asked[1] == {"repair": True, "plan_id": "0123456789ab"}


@pytest.mark.parametrize(
    ("options", "removals", "reason"),
    [
        ((), 11, "the repair would remove 11 rows"),
        (("--max-removals", "3"), 4, "the repair would remove 4 rows"),
        (("--approve", "ba9876543210"), 1, "the plan ba9876543210 is out of date"),
    ],
)
def test_repair_beyond_a_guard_is_not_requested(
    wire: Wire, run: RunCommand, options: tuple[str, ...], removals: int, reason: str
) -> None:
    served = serve(wire, (LEAK,), removals=removals)
    done = run("reconcile", "--repair", "--yes", *options)
    assert done.code == 1
    assert f"not repaired: {reason}" in done.err
    assert "relay reconcile --repair --approve 0123456789ab" in done.err
    assert served.asked == [{"repair": False}]


def test_refusal_of_the_relay_is_shown(wire: Wire, run: RunCommand) -> None:
    served = serve(wire, (LEAK,), (LEAK,))
    served.reports[1] |= {"repair": "refused", "refusal": "it is Friday"}
    done = run("reconcile", "--repair", "--yes", "--json")
    assert done.code == 1
    assert "not repaired: it is Friday" in done.err
    assert json.loads(done.out)["refusal"] == "it is Friday"
    assert json.loads(done.out)["repair"] == "refused"


def test_json_is_one_report(wire: Wire, run: RunCommand, tmp_path: Path) -> None:
    serve(wire, (LEAK,), (LEAK,), (), repaired=1)
    done = run("reconcile", "--repair", "--yes", "--json", "--output", "left.ndjson")
    report = json.loads(done.out)
    assert (report["differences"], report["repair"], report["repaired"]) == (1, "requested", 1)
    assert report["remaining"] == 0
    assert report["tables"][0]["table"] == "public.trip_memberships"
    assert (tmp_path / "left.ndjson").read_text() == ""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (problem(403, "scope-missing"), "--scope events:read --scope replay:write"),
        (problem(404, "path-not-found"), "it is of another version"),
        (document({"status": "ok"}), "has an unknown form"),
    ],
)
def test_check_that_is_not_possible_ends_with_2(
    wire: Wire, run: RunCommand, answer: Answer, reason: str
) -> None:
    wire.answers = [answer]
    done = run("reconcile", "--repair", "--yes")
    assert done.code == 2
    assert reason in done.err


def test_failed_check_ends_with_2_and_says_why(wire: Wire, run: RunCommand) -> None:
    serve(wire, (), status="failed", failure="Supabase does not respond")
    done = run("reconcile")
    assert done.code == 2
    assert "could not check Supabase: Supabase does not respond" in done.err


@pytest.mark.parametrize(
    ("options", "scopes"),
    [((), {"events:read"}), (("--repair", "--yes"), {"events:read", "replay:write"})],
)
async def test_token_has_the_needed_scopes(
    wire: Wire,
    run: RunCommand,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    scopes: set[Scope],
) -> None:
    monkeypatch.setenv("JWT_ISSUER", "ops")
    monkeypatch.setenv("JWT_AUDIENCE", "relay")
    serve(wire, ())
    run("reconcile", *options)
    claims = await verify_token(wire.asked[0].bearer, issuer="ops", audience="relay")
    assert claims.scopes == scopes


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--repair",), "a repair needs confirmation: add --yes"),
        (("--approve", "x"), "go with --repair"),
        (("--max-removals", "5"), "go with --repair"),
        (("--repair", "--max-removals", "many"), "must be a number of rows or a percentage"),
        (("--source-file", "a", "--source-db-url", "b"), "go without each other"),
        (("--source-queries", "a"), "goes with --source-db-url"),
    ],
)
def test_options_that_do_not_go_together_are_rejected(
    wire: Wire, run: RunCommand, options: tuple[str, ...], reason: str
) -> None:
    done = run("reconcile", *options)
    assert done.code == 2
    assert reason in done.err
    assert wire.asked == []


def test_unwritable_file_of_differences_is_named(wire: Wire, run: RunCommand) -> None:
    serve(wire, (LEAK,))
    done = run("reconcile", "--output", "none/differences.ndjson")
    assert done.code == 2
    assert "none/differences.ndjson cannot be written" in done.err
