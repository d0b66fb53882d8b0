"""Remembering how far a file has been sent."""

from pathlib import Path

import pytest

from app.cli.client.resume_file import Progress, ResumeFile, Tally, read_file_version

PROGRESS = Progress("http://relay.test", "1/2/3", 11, Tally(lines=1, accepted=1), 7)


def test_progress_is_read_as_it_was_written_and_gone_when_removed(tmp_path: Path) -> None:
    file = ResumeFile(tmp_path / "events.ndjson")
    assert file.read() is None
    file.write(PROGRESS)
    assert file.read() == PROGRESS
    file.remove()
    assert list(tmp_path.iterdir()) == []
    file.remove()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url":1}', b"\xff"])
def test_progress_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    file = ResumeFile(tmp_path / "events.ndjson")
    file.path.write_bytes(content)
    assert file.read() is None


def test_file_version_changes_with_an_edit_of_the_same_length(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text("a")
    before = read_file_version(file)
    assert read_file_version(file) == before
    file.write_text("b")
    assert read_file_version(file) != before
