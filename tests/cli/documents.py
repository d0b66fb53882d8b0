"""Responses of a relay, for tests of the command."""

from typing import Any

from tests.api.relay_harness import TRIP, USER

REPLAY = "0b58cd65-5281-4396-96ca-936f39ca04a3"


def make_event(event_id: str = "evt_1", status: str = "applied", **entity: Any) -> dict[str, Any]:
    """Make an event, with changes to its entity's fields."""
    return {
        "event_id": event_id,
        "type": "membership.created",
        "status": status,
        "timestamp": "2026-01-02T03:04:05.678901Z",
        "received_at": "2026-01-02T03:04:08Z",
        "entity": {
            "kind": "membership",
            "key": f"{TRIP}/{USER}",
            "state": "applied" if status == "superseded" else status,
            "is_removed": False,
            "desired_version_at": "2026-01-02T03:04:05.678901Z",
            "applied_version_at": None,
            "applied_at": None,
            "pending_since": None,
            "attempts": 0,
            "next_attempt_at": None,
            "last_error_code": None,
            "last_error": None,
        }
        | entity,
    }


def make_page(*events: dict[str, Any], cursor: str | None = None) -> dict[str, Any]:
    """Make a page of events."""
    return {"events": list(events), "next_cursor": cursor}


def make_replay(**changes: Any) -> dict[str, Any]:
    """Make a completed replay."""
    return {
        "replay_id": REPLAY,
        "requested_at": "2026-01-02T03:04:05Z",
        "requested_by": "jane",
        "filter": {},
        "status": "completed",
        "matched_events": 3,
        "entities": 2,
        "marked": 2,
        "applied": 2,
        "dead": 0,
        "superseded": 0,
        "waiting": 0,
    } | changes


def make_match(**changes: Any) -> dict[str, Any]:
    """Make the response to the request for a replay."""
    return {
        "replay_id": REPLAY,
        "matched_events": 3,
        "entities": 2,
        "status": "running",
    } | changes
