"""Examples of the OpenAPI document, by schema."""

from typing import Any, Final

_EVENT: Final[dict[str, Any]] = {
    "type": "membership.created",
    "timestamp": "2026-01-02T03:04:05.678901Z",
    "data": {
        "trip_id": "456e7890-e89b-12d3-a456-426614174001",
        "user_id": "123e4567-e89b-12d3-a456-426614174000",
        "role": "MEMBER",
        "status": "ACTIVE",
    },
}
_BATCH: Final[dict[str, Any]] = {
    "events": [
        {"id": "evt_018f3c5a", **_EVENT},
        {
            "id": "evt_018f3c5b",
            "type": "trip.deleted",
            "timestamp": "2026-01-02T03:04:06Z",
            "data": {"id": "456e7890-e89b-12d3-a456-426614174001"},
        },
    ]
}
_FIELD_ERROR: Final[dict[str, Any]] = {"pointer": "/data/id", "detail": "must be a UUID"}
_EVENT_LOOKUP: Final[dict[str, Any]] = {
    "event_id": "evt_018f3c5a",
    "type": "membership.created",
    "status": "pending",
    "timestamp": "2026-01-02T03:04:05.678901Z",
    "received_at": "2026-01-02T03:04:05.712000Z",
    "request_id": "req-7f3a",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "entity": {
        "kind": "membership",
        "key": "456e7890-e89b-12d3-a456-426614174001/123e4567-e89b-12d3-a456-426614174000",
        "state": "pending",
        "is_removed": False,
        "desired_version_at": "2026-01-02T03:04:05.678901Z",
        "applied_version_at": None,
        "applied_at": None,
        "pending_since": "2026-01-02T03:04:05.712000Z",
        "attempts": 1,
        "next_attempt_at": "2026-01-02T03:04:06.500000Z",
        "last_error_code": "23503",
        "last_error": 'insert or update on table "trip_memberships" violates foreign key'
        ' constraint "trip_memberships_trip_id_fkey"',
    },
}
_ENTITY: Final[dict[str, Any]] = {
    "key": "456e7890-e89b-12d3-a456-426614174001/123e4567-e89b-12d3-a456-426614174000",
    "version_at": "2026-01-02T03:04:05.678901Z",
    "is_removed": False,
    "digest": "53537699efcba613e7f9b18678c096c3",
}
_CONSOLE_LINK: Final[dict[str, Any]] = {
    "path": "/console/links/3q2-7w8sX0Zr1mB9fJcY5nKdUuT4vLhEoQaPiRgSxtM",
    "expires_at": "2026-01-02T03:05:05Z",
}
_REPLAY_RESULT: Final[dict[str, Any]] = {
    "replay_id": "0b0e7c4e-5f0c-4a43-9f0e-7f6a1d1c9a53",
    "matched_events": 1204,
    "entities": 873,
    "status": "completed",
}
_REPLAY: Final[dict[str, Any]] = {
    **_REPLAY_RESULT,
    "requested_at": "2026-01-02T03:04:05Z",
    "requested_by": "ops",
    "filter": {"types": ["membership.created"], "since": "2026-01-02T03:00:00Z"},
    "marked": 873,
    "applied": 870,
    "waiting": 2,
    "dead": 1,
    "superseded": 0,
}
_RECONCILIATION: Final[dict[str, Any]] = {
    "reconcile_id": "7c9a4a52-1f0e-4f35-8f0b-2d1f6c1f5a10",
    "requested_at": "2026-01-02T03:04:05Z",
    "requested_by": None,
    "finished_at": "2026-01-02T03:04:07Z",
    "status": "completed",
    "failure": None,
    "tables": [
        {
            "kind": "membership",
            "table": "public.trip_memberships",
            "rows": 40211,
            "leaks": 1,
            "denies": 0,
            "other": 0,
        }
    ],
    "differences": 1,
    "plan_id": "3c34c4c09659",
    "removals": 0,
    "repair": "automatic",
    "repaired": 1,
    "refusal": None,
}
_DIFFERENCE: Final[dict[str, Any]] = {
    "kind": "membership",
    "key": "456e7890-e89b-12d3-a456-426614174001/123e4567-e89b-12d3-a456-426614174000",
    "difference": "extra",
    "effect": "leaks",
    "origin": "removed_by_us",
    "columns": [],
    "repair": "delete",
    "note": None,
}
_EXPOSURE_SUMMARY: Final[dict[str, Any]] = {
    "revocations": 1204,
    "unapplied": 1,
    "p50_seconds": 0.031,
    "p95_seconds": 0.084,
    "p99_seconds": 312.4,
    "maximum_seconds": 2471.5,
}
_REVOCATION: Final[dict[str, Any]] = {
    "trip_id": "456e7890-e89b-12d3-a456-426614174001",
    "user_id": "123e4567-e89b-12d3-a456-426614174000",
    "occurred_at": "2026-01-02T03:04:05.678901Z",
    "received_at": "2026-01-02T03:04:05.712000Z",
    "applied_at": None,
    "exposed_seconds": 2471.5,
    "relay_seconds": 2471.466901,
}
_STATUS: Final[dict[str, Any]] = {
    "version": "1.0.0",
    "at": "2026-01-02T03:04:06Z",
    "replica": "relay-7d9f/1",
    "leader": "relay-5c2b/1",
    "circuit_breaker": {
        "is_open": True,
        "opened_at": "2026-01-02T03:01:10Z",
        "next_probe_at": "2026-01-02T03:04:31.250000Z",
        "code": "ConnectError",
        "message": "All connection attempts failed",
    },
    "held_rows": [],
    "dead": [
        {
            "kind": "user",
            "code": "23514",
            "message": 'new row for relation "users" violates check constraint "users_name_check"',
            "entities": 3,
        }
    ],
    "revocations": _EXPOSURE_SUMMARY,
    "events": [_EVENT_LOOKUP],
}
EXAMPLES: Final[dict[str, Any]] = {
    "Index": {
        "name": "NomadCrew Supabase relay",
        "version": "0.1.0",
        "docs": "/docs",
        "problems": "/docs/problems",
        "openapi": "/openapi.json",
        "health": "/health",
        "metrics": "/metrics",
    },
    "Event": _EVENT,
    "BatchEvent": _BATCH["events"][0],
    "Batch": _BATCH,
    "Receipt": {"event_id": "evt_018f3c5a", "status": "accepted"},
    "BatchResult": {
        "results": [
            {"event_id": "evt_018f3c5a", "status": "accepted"},
            {"event_id": "evt_018f3c5b", "status": "invalid", "errors": [_FIELD_ERROR]},
        ]
    },
    "Problem": {
        "type": "/docs/problems#input-invalid",
        "title": "Unprocessable Content",
        "status": 422,
        "code": "input-invalid",
        "errors": [_FIELD_ERROR],
    },
    "EventBody": _EVENT_LOOKUP,
    "EventList": {"events": [_EVENT_LOOKUP], "next_cursor": None},
    "DesiredEntityBody": _ENTITY,
    "DesiredEntityList": {"entities": [_ENTITY], "next_cursor": None},
    "Exposure": {"summary": _EXPOSURE_SUMMARY, "revocations": [_REVOCATION]},
    "ExposureSummaryBody": _EXPOSURE_SUMMARY,
    "RevocationBody": _REVOCATION,
    "StatusBody": _STATUS,
    "ConsoleLink": _CONSOLE_LINK,
    "ReplayResult": _REPLAY_RESULT,
    "ReplayReport": _REPLAY,
    "ReplayList": {"replays": [_REPLAY], "next_cursor": None},
    "ReconcileReport": _RECONCILIATION,
    "ReconcileList": {"reconciliations": [_RECONCILIATION], "next_cursor": None},
    "DifferenceList": {"differences": [_DIFFERENCE], "next_cursor": None},
}
