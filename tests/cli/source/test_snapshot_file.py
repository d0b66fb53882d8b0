"""Snapshots from files: valid ones, and every way in which a line can be wrong."""

import json
from pathlib import Path

import pytest

from app.cli.errors import Rejected
from app.cli.source.snapshot import Snapshot
from app.cli.source.snapshot_file import read_snapshot_file
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid
from app.domain.instants import after
from tests.cli.source.sides import ANA, AT, READER, TRIP, member, ref_of, trip, user

HEAD = '{"snapshot_at": "2026-01-02T04:00:00+01:00"}'


def read(path: Path, snapshot: Snapshot, *lines: str, ending: str = "\n") -> None:
    path.write_text("".join(line + ending for line in lines))
    read_snapshot_file(path, snapshot, READER, now=after(AT, 60))


def write_line(kind: str, data: object) -> str:
    return json.dumps({"kind": kind, "data": data})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot.ndjson"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n\n"])
def test_file_is_read_in_any_order(path: Path, ending: str) -> None:
    lines = (
        write_line("membership", member()),
        write_line("user", {**user(), "phone": "5\ud800"}),
        write_line("trip", {**trip(), "id": TRIP.upper()}),
    )
    with Snapshot() as snapshot:
        read(path, snapshot, HEAD, *lines, ending=ending)
        assert snapshot.at == AT
        assert [snapshot.count_rows(kind) for kind in Kind] == [1, 1, 1]
        assert json.loads(snapshot.find_data(ref_of(trip())) or "") == trip()
        # The relay drops what it does not keep.
        data = json.loads(snapshot.find_data(ref_of(user())) or "")
        assert data == {**user(), "phone": "5\ud800"}
        assert [row.status for row in snapshot.read_rows(Kind.MEMBERSHIP)] == ["ACTIVE"]


def test_file_without_rows_is_an_empty_source(path: Path) -> None:
    with Snapshot() as snapshot:
        read(path, snapshot, HEAD)
        assert [snapshot.count_rows(kind) for kind in Kind] == [0, 0, 0]


@pytest.mark.parametrize(
    "head",
    [
        "",
        "{}",
        write_line("user", user()),
        '{"snapshot_at": "2026-01-02T03:00:00"}',
        '{"snapshot_at": 5}',
        '{"snapshot_at": "2026-01-02T03:00:00Z", "rows": 5}',
        '{"snapshot_at": "2026-01-02T03:06:01Z"}',
        '{"snapshot_at": "1999-12-31T23:59:59Z"}',
    ],
)
def test_file_must_begin_with_its_time(path: Path, head: str) -> None:
    with Snapshot() as snapshot, pytest.raises(Rejected, match="line 1"):
        read(path, snapshot, head, write_line("user", user()))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 3: is not valid JSON"),
        ("[]", "line 3: must be {"),
        (write_line("admin", user()), "line 3: must be {"),
        (json.dumps({"kind": "user", "data": user(), "at": 1}), "line 3: must be {"),
        (write_line("user", [user()]), "line 3: /data must be an object"),
        (write_line("user", {**user(), "email": ""}), "line 3: /data/email must not be empty"),
        (write_line("user", {"id": "7"}), "line 3: /data/id must be a UUID"),
        (
            write_line("membership", member(role="PILOT")),
            "line 3: /data/role must be one of OWNER, ADMIN, MEMBER",
        ),
        (write_line("user", user(ANA.upper(), "other")), "line 3: the source has this user twice"),
        ('{"kind": "user", "kind": "user"}', "line 3: contains the same key twice"),
    ],
)
def test_wrong_line_is_reported_by_its_number(path: Path, line: str, problem: str) -> None:
    with Snapshot() as snapshot, pytest.raises(Rejected, match="nothing is sent") as caught:
        read(path, snapshot, HEAD, write_line("user", user()), line, write_line("trip", trip()))
    assert any(detail.startswith(problem) for detail in caught.value.details), caught.value.details
    assert "ana@example.com" not in "".join(caught.value.details)


def test_first_twenty_wrong_lines_are_shown_and_the_others_counted(path: Path) -> None:
    with Snapshot() as snapshot, pytest.raises(Rejected, match="has 25 rows") as caught:
        read(path, snapshot, HEAD, *["{}"] * 25)
    details = caught.value.details
    assert details[0].startswith("line 2: ")
    assert details[19].startswith("line 21: ")
    assert details[20:] == ("… and 5 more rows",)


def test_unknown_role_says_which_settings_to_set(path: Path) -> None:
    with Snapshot() as snapshot, pytest.raises(Rejected, match="has 1 row ") as caught:
        read(path, snapshot, HEAD, write_line("membership", member(status="LEFT")))
    assert "MEMBERSHIP_STATUSES" in caught.value.details[-1]


def test_unreadable_file_is_named(path: Path) -> None:
    with Snapshot() as snapshot, pytest.raises(ConfigurationInvalid, match=r"snapshot\.ndjson"):
        read_snapshot_file(path, snapshot, READER, now=AT)
