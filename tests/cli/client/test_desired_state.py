"""Reading the desired state page by page, against a fake relay."""

from typing import Any

import pytest

from app.auth.claims import Scope
from app.cli.client.desired_state import EntityAnswer, read_entities
from app.cli.client.relay_client import open_relay
from app.cli.errors import NotThisRelay
from app.domain.entities import Kind
from app.domain.instants import parse_timestamp
from tests.api.relay_harness import TRIP, USER
from tests.cli.wire import Wire, document, problem


def make_page(*keys: str, cursor: str | None = None, **changes: Any) -> dict[str, Any]:
    entity = {"version_at": "2026-01-02T03:04:05.678901Z", "is_removed": True, "digest": None}
    return {
        "entities": [{"key": key, **entity, **changes} for key in keys],
        "next_cursor": cursor,
    }


def read(wire: Wire) -> list[EntityAnswer]:
    with open_relay(wire.url, "token", Scope.EVENTS_READ) as relay:
        return list(read_entities(relay, Kind.TRIP, report_wait=lambda *_: None))


def test_every_page_is_read(wire: Wire) -> None:
    wire.answers = [document(make_page(USER, cursor="next")), document(make_page(TRIP))]
    found = read(wire)
    assert [entity.key for entity in found] == [USER, TRIP]
    assert found[0].version_at == parse_timestamp("2026-01-02T03:04:05.678901Z")
    assert [asked.query for asked in wire.asked] == [
        {"kind": ["trip"], "limit": ["5000"]},
        {"kind": ["trip"], "limit": ["5000"], "cursor": ["next"]},
    ]


def test_unavailable_relay_is_asked_again(wire: Wire) -> None:
    wire.answers = [problem(503, "store-unavailable"), document(make_page(TRIP))]
    assert [entity.key for entity in read(wire)] == [TRIP]


def test_page_of_an_unknown_form_is_rejected(wire: Wire) -> None:
    wire.answers = [document(make_page(TRIP, version_at="yesterday"))]
    with pytest.raises(NotThisRelay):
        read(wire)
