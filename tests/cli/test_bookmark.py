"""Remembering how far a file has been sent."""

import hashlib
import io
from pathlib import Path

import pytest

from app.cli.client.resume_file import Bookmark, Progress, Tally, find_place

CONTENT = b'{"id":"1"}\n{"id":"2"}\n'
FIRST = len(CONTENT) // 2


def make_progress() -> Progress:
    digest = hashlib.sha256(CONTENT[:FIRST]).hexdigest()
    return Progress("http://relay.test", FIRST, digest, Tally(lines=1, accepted=1), 7)


def test_bookmark_is_read_as_it_was_written_and_gone_when_removed(tmp_path: Path) -> None:
    bookmark = Bookmark.of(tmp_path / "events.ndjson")
    assert bookmark.read() is None
    bookmark.write(make_progress())
    assert bookmark.read() == make_progress()
    bookmark.remove()
    assert list(tmp_path.iterdir()) == []
    bookmark.remove()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"url":1}', b"\xff"])
def test_bookmark_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    bookmark = Bookmark(tmp_path / "events.ndjson.relay-progress")
    bookmark.path.write_bytes(content)
    assert bookmark.read() is None


@pytest.mark.parametrize("more", [b"", b'{"id":"3"}\n'])
def test_place_of_a_file_that_begins_as_it_did_is_found(more: bytes) -> None:
    file = io.BytesIO(CONTENT + more)
    place = find_place(file, make_progress())
    assert place is not None
    assert (place.lines, place.offset, file.tell()) == (1, FIRST, FIRST)


@pytest.mark.parametrize("content", [b"", CONTENT[: FIRST - 1], b"x" + CONTENT[1:]])
def test_place_of_a_file_that_has_changed_is_none(content: bytes) -> None:
    file = io.BytesIO(content)
    assert find_place(file, make_progress()) is None
    assert file.tell() == 0
