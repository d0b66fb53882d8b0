"""Recordings: when each row was first applied, since the last call."""

from pathlib import Path

import pytest

from benchmarks.recorder import Message, write_lines
from benchmarks.recording import Recording

APPLIED = Message(b"HTTP/1.1 200 OK", b'{"sequence":1,"failures":[],"not_tried":[]}')
TRIP = "00000000-0000-0000-0000-000000000009"
USERS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(4)]
KEYS = [f"{TRIP}/{user}" for user in USERS]


def note(path: Path, number: int, answered_at: float) -> None:
    with path.open("ab") as file:
        file.write(write_lines({(0, 0): f"+ {KEYS[number]}"}, APPLIED, answered_at))


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    (tmp_path / "rows").touch()
    return Recording("http://supabase.test", tmp_path / "rows")


def test_row_that_was_written_twice_arrived_the_first_time(recording: Recording) -> None:
    note(recording.path, 1, 5.0)
    note(recording.path, 1, 6.0)
    note(recording.path, 2, 7.0)

    assert recording.await_rows(KEYS[1:3], seconds=0) == {KEYS[1]: 5.0, KEYS[2]: 7.0}


def test_row_that_was_written_before_the_last_look_does_not_count(recording: Recording) -> None:
    note(recording.path, 1, 5.0)
    recording.await_rows(KEYS[1:2], seconds=0)

    with pytest.raises(RuntimeError, match="1 of 1 rows never arrived"):
        recording.await_rows(KEYS[1:2], seconds=0)


def test_line_that_is_not_yet_whole_is_read_later(recording: Recording) -> None:
    note(recording.path, 1, 5.0)
    note(recording.path, 2, 7.0)
    whole = recording.path.read_bytes()
    recording.path.write_bytes(whole[:-9])
    with pytest.raises(RuntimeError, match="1 of 2 rows never arrived"):
        recording.await_rows(KEYS[1:3], seconds=0)
    recording.path.write_bytes(whole)

    assert recording.await_rows(KEYS[2:3], seconds=0) == {KEYS[2]: 7.0}


def test_removal_is_not_taken_for_a_grant(recording: Recording) -> None:
    note(recording.path, 1, 5.0)

    with pytest.raises(RuntimeError, match="never arrived"):
        recording.await_rows(KEYS[1:2], seconds=0, removal=True)


def test_answers_are_told_apart_by_their_times_from_the_beginning(recording: Recording) -> None:
    for number, answered_at in ((1, 5.0), (2, 5.0), (3, 6.5)):
        note(recording.path, number, answered_at)
    recording.await_rows(KEYS[1:], seconds=0)

    assert recording.list_answers() == [5.0, 6.5]


def test_waiting_for_any_row_ends_with_the_first(recording: Recording) -> None:
    with pytest.raises(RuntimeError, match="no row arrived"):
        recording.await_any_row(seconds=0)
    note(recording.path, 1, 5.0)

    recording.await_any_row(seconds=0)
