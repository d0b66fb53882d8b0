"""Reading files of events."""

import io
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli.client.ndjson import BATCH_BYTES, EventLine, gather_batches, read_lines
from app.cli.client.ndjson import write_batch as write
from tests.api.relay_harness import make_body


def read(content: bytes) -> list[EventLine]:
    return list(read_lines(io.BytesIO(content)))


def item_of(line: EventLine) -> Any:
    assert line.item is not None
    return json.loads(line.item)


def detail_of(line: EventLine) -> str:
    assert line.item is None
    (error,) = line.errors
    assert error.pointer == ""
    return error.detail


def test_line_with_an_id_is_sent_unchanged() -> None:
    text = b'{"id" : "evt_1","type":"user.deleted",  "data":{"n":1.0e2}}'
    (line,) = read(text + b"\r\n")
    assert (line.item, line.event_id) == (text, "evt_1")


def test_line_without_an_id_gets_the_same_one_every_time_it_is_sent() -> None:
    body = make_body("user.created")
    again = {"line": 3, **dict(reversed(body.items())), "errors": []}
    other = make_body("user.created", at="2026-01-02T03:00:01Z")
    lines = read("\n".join(json.dumps(b) for b in (body, again, other)).encode())
    ids = [line.event_id for line in lines]
    assert ids[0] == ids[1] != ids[2]
    assert [item_of(line) for line in lines] == [
        {"id": event_id, **content}
        for event_id, content in zip(ids, (body, again, other), strict=True)
    ]


@pytest.mark.parametrize("text", [b"{}", b"{ }", b'{\t"type":"x"}'])
def test_line_of_an_odd_form_gets_an_id_too(text: bytes) -> None:
    (line,) = read(text)
    assert item_of(line) == {"id": line.event_id, **json.loads(text)}


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"nonsense", "is not valid JSON"),
        (b"[]", "must be an object"),
        (b"\xff", "is not UTF-8"),
        (b'{"id":"a","id":"b"}', "contains the same key twice in one object"),
        (b"[" * 100_000, "is nested too deeply"),
        # It could be read by itself, but hardly inside of a batch.
        (b'{"x":' + b"[" * 850 + b"]" * 850 + b"}", "is nested too deeply"),
        (b'{"x":"' + b"y" * BATCH_BYTES + b'"}', "is longer than a batch may be"),
        (b'{"x":"' + b"y" * (BATCH_BYTES - 21) + b'"}', "is longer than a batch may be"),
    ],
)
def test_line_that_cannot_be_sent_says_why_and_does_not_affect_others(
    text: bytes, detail: str
) -> None:
    lines = read(b'{"id":"1"}\n' + text + b'\n{"id":"3"}')
    assert detail in detail_of(lines[1])
    assert [line.number for line in lines] == [1, 2, 3]
    assert [line.event_id for line in (lines[0], lines[2])] == ["1", "3"]


def test_empty_lines_are_skipped_but_counted() -> None:
    lines = read(b'\xef\xbb\xbf{"id":"1"}\n\n  \r\n{"id":"4"}\n\n')
    assert [(line.event_id, line.number) for line in lines] == [("1", 1), ("4", 4)]


@settings(max_examples=30)
@given(st.lists(st.sampled_from([1, 1000, 400_000, 600_000, BATCH_BYTES - 40]), max_size=8))
def test_batches_hold_every_line_in_order_and_no_more_than_a_request(sizes: list[int]) -> None:
    texts = [b'{"id":"%d","x":"%b"}' % (n, b"y" * size) for n, size in enumerate(sizes)]
    lines = read(b"\n".join(texts))
    batches = list(gather_batches(lines))
    assert [line for batch in batches for line in batch] == lines
    for batch in batches:
        body = write([line.item for line in batch if line.item is not None])
        assert len(body) <= BATCH_BYTES
        assert len(json.loads(body)["events"]) == len(batch)
    # No batch had room for the first line of the next one.
    for batch, following in itertools.pairwise(batches):
        items = [line.item for line in (*batch, following[0]) if line.item is not None]
        assert len(write(items)) > BATCH_BYTES


def test_batches_hold_a_thousand_events_at_most() -> None:
    lines = read(b'{"id":"1"}\n' * 2001)
    assert [len(batch) for batch in gather_batches(lines)] == [1000, 1000, 1]
