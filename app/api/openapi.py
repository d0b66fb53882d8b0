"""The OpenAPI document: what FastAPI knows, and what only the contract knows."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.examples import EXAMPLES
from app.api.problems import MEDIA_TYPE, PROBLEMS
from app.api.replay import ReplayBody
from app.api.request_body import BATCH_BYTES, EVENT_BYTES
from app.api.webhooks import BATCH_PATH, EVENT_PATH, MAXIMUM_WAIT_SECONDS
from app.domain import errors
from app.domain.contract import DATA_SCHEMAS, MAXIMUM_BATCH_EVENTS
from app.domain.errors import RelayError

_DESCRIPTION: Final = """\
Takes signed change events of users, trips and memberships, stores them durably, and brings
Supabase's permission tables to the state that they describe.

A 202 means that the event is on disk. Any order, repetition or replay of the same events ends in
the same state. Every error is an RFC 9457 problem with a stable `code`.
"""

_SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "WebhookSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Standard Webhooks 1.0.0: `v1` (HMAC-SHA256) or `v1a` (ed25519) over"
        " `{webhook-id}.{webhook-timestamp}.{raw body}`. For WEBHOOK_AUTH=hmac, any, both.",
    },
    "WebhookToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Scope `webhooks:write`, and the claim `request_body_sha256`: the SHA-256"
        " of the raw body in hex. Send the claim `webhook_id` too: the token is then good for no"
        " other `webhook-id`. For WEBHOOK_AUTH=jwt, any, both.",
    },
}

_PROBLEM_SCHEMA: Final[dict[str, Any]] = {
    "title": "Problem",
    "description": "RFC 9457. `code` is the stable name.",
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
    },
}
_FIELD_ERROR_SCHEMA: Final[dict[str, Any]] = {
    "title": "FieldError",
    "type": "object",
    "required": ["pointer", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "RFC 6901; the whole body is the empty one."},
        "detail": {"type": "string"},
    },
}

# Errors of any request; documented for the operations that take a body.
_REQUEST_ERRORS: Final = (
    errors.RequestMalformed,
    errors.HeadTooSlow,
    errors.BodyTooSlow,
    errors.BodyTooLarge,
    errors.HeadTooLarge,
    errors.MediaTypeUnsupported,
    errors.ContentEncodingUnsupported,
    errors.InputInvalid,
)
_OPERATOR_ERRORS: Final = (
    errors.Unauthenticated,
    errors.OperatorAccessNotConfigured,
    errors.ScopeMissing,
    errors.StoreUnavailable,
    errors.KeySetUnavailable,
)
_OPERATOR_PATHS: Final = {
    ("/events", "get"): (errors.InputInvalid,),
    ("/events/{event_id}", "get"): (errors.EventNotFound,),
    ("/replay", "get"): (errors.InputInvalid,),
    ("/replay", "post"): _REQUEST_ERRORS,
    ("/replay/{replay_id}", "get"): (errors.ReplayNotFound,),
}
_WEBHOOK_ERRORS: Final = (
    *_REQUEST_ERRORS,
    errors.Unauthenticated,
    errors.ScopeMissing,
    errors.Overloaded,
    errors.StoreUnavailable,
    errors.KeySetUnavailable,
)


def describe_api(app: FastAPI) -> None:
    """Have `app.openapi()` give the whole document."""

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build_document(app)
        return app.openapi_schema

    app.openapi = build  # type: ignore[method-assign]  # how FastAPI documents it


def _build_document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary="From a backend's change events to Supabase's permission tables.",
        description=_DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        routes=app.routes,
        servers=[{"url": "http://127.0.0.1:8080", "description": "`relay serve` on this machine"}],
        tags=[
            {"name": "webhooks", "description": "For the backend."},
            {"name": "events", "description": "For ops: what happened to an event."},
            {"name": "replay", "description": "For ops: write to Supabase again."},
            {"name": "health", "description": "For monitoring and orchestrators."},
        ],
    )
    components = document["components"]
    schemas = components["schemas"]
    for fastapi_own in ("HTTPValidationError", "ValidationError"):
        schemas.pop(fastapi_own, None)
    schemas |= {
        "Problem": _PROBLEM_SCHEMA,
        "FieldError": _FIELD_ERROR_SCHEMA,
        **_event_schemas(),
    }
    replay_body = ReplayBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= {**replay_body.pop("$defs"), "ReplayBody": replay_body}
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    components["securitySchemes"] |= _SECURITY_SCHEMES
    paths = document["paths"]
    for (path, method), own in _OPERATOR_PATHS.items():
        responses = paths[path][method]["responses"]
        responses.pop("422", None)
        responses |= _problems(*_OPERATOR_ERRORS, *own)
    document["paths"] = {
        EVENT_PATH: {"post": _event_operation()},
        BATCH_PATH: {"post": _batch_operation()},
        **paths,
    }
    return document


def _event_schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    names: dict[str, str] = {}
    for event_type, adapter in DATA_SCHEMAS.items():
        name = "".join(part.capitalize() for part in event_type.value.split("."))
        data = adapter.json_schema()
        # Unknown fields are dropped, not refused: the sender may grow.
        schemas[name] = {
            "title": name,
            "type": "object",
            "required": ["type", "timestamp", "data"],
            "properties": {
                "type": {"type": "string", "const": event_type.value},
                "timestamp": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When it happened: RFC 3339 with an offset, up to nine"
                    " fractional digits; not before 2000-01-01T00:00:00Z and at most five minutes"
                    " ahead of the clock.",
                },
                "data": {"$ref": f"#/components/schemas/{data['title']}"},
            },
        }
        # A schema of its own: what an event and an id are together, few generators can tell.
        schemas[f"Batch{name}"] = {
            **schemas[name],
            "title": f"Batch{name}",
            "required": ["id", *schemas[name]["required"]],
            "properties": {
                "id": {"$ref": "#/components/schemas/EventId"},
                **schemas[name]["properties"],
            },
        }
        names[event_type.value] = name
    return {
        **schemas,
        **_describe_rows(),
        "Event": {
            "title": "Event",
            "description": "A change of a user, a trip or a membership, told apart by `type`.",
            **_choose(names),
        },
        "BatchEvent": {
            "title": "BatchEvent",
            "description": "An event as `POST /webhooks` takes it, with its `id` beside: what the"
            " header `webhook-id` says there.",
            **_choose({event_type: f"Batch{name}" for event_type, name in names.items()}),
        },
        "EventId": {
            "title": "EventId",
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[!-~]+$",
            "description": "The event's identity: stable over retries.",
        },
        "Batch": {
            "title": "Batch",
            "type": "object",
            "required": ["events"],
            "properties": {
                "events": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAXIMUM_BATCH_EVENTS,
                    "items": {"$ref": "#/components/schemas/BatchEvent"},
                }
            },
        },
        "Receipt": _receipt("accepted", "duplicate", "applied", "superseded", "dead"),
        "BatchResult": {
            "title": "BatchResult",
            "type": "object",
            "required": ["results"],
            "properties": {
                "results": {
                    "type": "array",
                    "description": "In the order sent.",
                    "items": {"$ref": "#/components/schemas/BatchReceipt"},
                }
            },
        },
        "BatchReceipt": _batch_receipt(),
    }


def _describe_rows() -> dict[str, Any]:
    """Give the schemas of what events say, by title."""
    schemas = [adapter.json_schema() for adapter in DATA_SCHEMAS.values()]
    rows: dict[str, Any] = {schema["title"]: schema for schema in schemas}
    # Which words they may be is a setting: a client must not be built for one deployment alone.
    rows["MembershipRow"]["properties"]["role"] |= {
        "description": "One of MEMBERSHIP_ROLES, which are OWNER, ADMIN, MEMBER by default.",
        "examples": ["MEMBER"],
    }
    rows["MembershipRow"]["properties"]["status"] |= {
        "description": "One of MEMBERSHIP_STATUSES, which are ACTIVE, INACTIVE by default."
        " Any but ACTIVE takes access away.",
        "examples": ["ACTIVE"],
    }
    return rows


def _choose(names: dict[str, str]) -> dict[str, Any]:
    mapping = {event_type: f"#/components/schemas/{name}" for event_type, name in names.items()}
    return {
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }


def _receipt(*statuses: str) -> dict[str, Any]:
    return {
        "title": "Receipt",
        "type": "object",
        "required": ["event_id", "status"],
        "properties": {
            "event_id": {"type": "string"},
            "status": {"type": "string", "enum": list(statuses)},
        },
    }


def _batch_receipt() -> dict[str, Any]:
    receipt = _receipt("accepted", "duplicate", "conflict", "invalid")
    receipt["title"] = "BatchReceipt"
    receipt["properties"]["event_id"] = {
        "type": ["string", "null"],
        "description": "Null where it could not be read.",
    }
    receipt["properties"]["errors"] = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/FieldError"},
    }
    return receipt


def _event_operation() -> dict[str, Any]:
    return {
        "tags": ["webhooks"],
        "operationId": "postWebhook",
        "summary": "Send one event",
        "description": f"At most {EVENT_BYTES // 1024} KiB. Answered once it is durable.",
        "security": [{"WebhookSignature": []}, {"WebhookToken": []}],
        "parameters": [
            _header("webhook-id", {"$ref": "#/components/schemas/EventId"}, required=True),
            _signature_time(),
            _header(
                "prefer",
                {"type": "string", "examples": ["wait=5"]},
                f"`wait=N`: wait until Supabase holds it, at most {MAXIMUM_WAIT_SECONDS} seconds.",
            ),
        ],
        "requestBody": _json_body("Event"),
        "responses": {
            "202": _json_answer("Durable and new.", "Receipt"),
            "200": _json_answer(
                "Stored before (`duplicate`), or settled while `Prefer: wait` waited.", "Receipt"
            ),
            **_problems(*_WEBHOOK_ERRORS, errors.EventIdConflict),
        },
    }


def _batch_operation() -> dict[str, Any]:
    return {
        "tags": ["webhooks"],
        "operationId": "postWebhookBatch",
        "summary": "Send up to 1,000 events",
        "description": f"At most {BATCH_BYTES // 1024} KiB, signed over the whole body."
        " One bad event spoils no other.",
        "security": [{"WebhookSignature": []}, {"WebhookToken": []}],
        "parameters": [
            _header("webhook-id", {"type": "string"}, "Identifies this attempt of the batch."),
            _signature_time(),
        ],
        "requestBody": _json_body("Batch"),
        "responses": {
            "202": _json_answer("All that could be stored is durable.", "BatchResult"),
            "200": _json_answer("Nothing in it was new.", "BatchResult"),
            **_problems(*_WEBHOOK_ERRORS),
        },
    }


def _header(
    name: str, schema: dict[str, Any], description: str = "", *, required: bool = False
) -> dict[str, Any]:
    header = {"name": name, "in": "header", "required": required, "schema": schema}
    return header | ({"description": description} if description else {})


def _signature_time() -> dict[str, Any]:
    # Not required by the schema: one who comes with a token alone has no use for it.
    return _header(
        "webhook-timestamp",
        {"type": "string", "pattern": "^[0-9]+$", "examples": ["1767323045"]},
        "Unix seconds of this attempt. Needed with `webhook-signature`, which covers it.",
    )


def _json_body(schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"required": True, "content": {"application/json": {"schema": reference}}}


def _json_answer(description: str, schema: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    return {"description": description, "content": {"application/json": {"schema": reference}}}


def _problems(*kinds: type[RelayError]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for kind in kinds:
        status, code = PROBLEMS[kind]
        response: dict[str, Any] = {
            "description": f"`{code}`: {(kind.__doc__ or '').splitlines()[0]}",
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if issubclass(kind, errors.TemporarilyUnavailable):
            response["headers"] = {
                "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
            }
        earlier = responses.get(str(int(status)))
        if earlier is not None:
            response["description"] = f"{earlier['description']} {response['description']}"
        responses[str(int(status))] = response
    return responses
