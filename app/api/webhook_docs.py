"""The OpenAPI description of `POST /webhooks` and `POST /webhooks/batch`.

`Application` sends these requests to their endpoints before FastAPI sees them, so the functions
here are never called: FastAPI derives the document from their signatures.
"""

from typing import Annotated, Any, Final, Literal, Union

from fastapi import APIRouter, Depends, Header
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, Field, RootModel, create_model

from app.api.problems import REQUEST_ERRORS, describe_problems
from app.api.webhooks import BATCH_PATH, EVENT_PATH, MAXIMUM_WAIT_SECONDS
from app.domain import errors
from app.domain.contract import DATA_TYPES, MAXIMUM_BATCH_EVENTS

_signature = APIKeyHeader(
    name="webhook-signature",
    scheme_name="WebhookSignature",
    description="Standard Webhooks 1.0.0: `v1` (HMAC-SHA256) or `v1a` (ed25519) over"
    " `{webhook-id}.{webhook-timestamp}.{raw body}`. For WEBHOOK_AUTH=hmac, any, both.",
)
_token = HTTPBearer(
    scheme_name="WebhookToken",
    bearerFormat="JWT",
    description="A JWT with the scope `webhooks:write` and the claim `request_body_sha256`: the"
    " SHA-256 of the raw body in hex. The claim `webhook_id` binds it to one `webhook-id`."
    " For WEBHOOK_AUTH=jwt, any, both.",
)
router = APIRouter(
    tags=["webhooks"],
    dependencies=[Depends(_signature), Depends(_token)],
    responses=describe_problems(
        *REQUEST_ERRORS,
        errors.Unauthenticated,
        errors.ScopeMissing,
        errors.Overloaded,
        errors.StoreUnavailable,
        errors.KeySetUnavailable,
    ),
)

EventId = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        pattern="^[!-~]+$",
        description="The event's identity, the same over retries.",
    ),
]
Timestamp = Annotated[
    str,
    Field(
        description="When the change happened: RFC 3339 with an offset and up to nine fractional"
        " digits; not before 2000-01-01T00:00:00Z and at most five minutes in the future.",
        json_schema_extra={"format": "date-time"},
    ),
]
# Optional: tokens need no timestamp.
TimestampHeader = Annotated[
    str | None,
    Header(
        description="Unix seconds of this attempt. Required with `webhook-signature`.",
        pattern="^[0-9]+$",
        examples=["1767323045"],
    ),
]
RequestIdHeader = Annotated[
    str | None,
    Header(
        description="The sender's id of this request: up to 128 visible ASCII characters, stored"
        " with the event. Anything else counts as not given; the relay then makes one.",
        examples=["req-7f3a"],
    ),
]
TraceParentHeader = Annotated[
    str | None,
    Header(
        description="W3C Trace Context. Its trace id is stored with the event. An invalid value"
        " counts as not given.",
        examples=["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    ),
]
_RESPONSE_HEADERS: Final = {
    "X-Request-Id": {
        "description": "The request's id, as given or made by the relay. Every response has it.",
        "schema": {"type": "string"},
    },
    "traceparent": {
        "description": "As given, if it is valid.",
        "schema": {"type": "string"},
    },
}


def _make_event_models(prefix: str, **more: Any) -> Any:
    """Make a model of each event type, and choose among them by `type`."""
    models: list[Any] = []
    for event_type, data_type in DATA_TYPES.items():
        name = prefix + "".join(part.capitalize() for part in event_type.value.split("."))
        fields: dict[str, Any] = {
            **more,
            "type": (Literal[event_type.value], ...),
            "timestamp": (Timestamp, ...),
            "data": (data_type, ...),
        }
        models.append(create_model(name, **fields))
    return Annotated[Union[tuple(models)], Field(discriminator="type")]  # noqa: UP007 - computed


_SingleEvents: Final = _make_event_models("")
_BatchEvents: Final = _make_event_models("Batch", id=(EventId, ...))


class Event(RootModel[_SingleEvents]):  # type: ignore[valid-type]  # computed
    """A change of a user, trip or membership."""


class BatchEvent(RootModel[_BatchEvents]):  # type: ignore[valid-type]  # computed
    """An event of a batch. `id` replaces the header `webhook-id`."""


class Batch(BaseModel):
    """Several events."""

    events: list[BatchEvent] = Field(min_length=1, max_length=MAXIMUM_BATCH_EVENTS)


class Receipt(BaseModel):
    """What the relay did with an event."""

    event_id: str
    status: Literal["accepted", "duplicate", "applied", "superseded", "dead"]


class FieldError(BaseModel):
    """An invalid field."""

    pointer: str = Field(description="RFC 6901 pointer; empty for the whole body.")
    detail: str


class BatchReceipt(BaseModel):
    """What the relay did with an event of a batch."""

    event_id: str | None = Field(description="Null if unreadable.")
    status: Literal["accepted", "duplicate", "conflict", "invalid"]
    errors: list[FieldError] = Field(default_factory=list)


class BatchResult(BaseModel):
    """What the relay did with each event of a batch."""

    results: list[BatchReceipt] = Field(description="In the order sent.")


class Problem(BaseModel):
    """An error by RFC 9457. `code` is stable: compare it, not `type` or `title`."""

    type: str = Field(
        description="Relative URL of the code's documentation.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str
    status: int
    code: str
    detail: str = ""
    errors: list[FieldError] = Field(default_factory=list)


@router.post(
    EVENT_PATH,
    operation_id="postWebhook",
    summary="Send an event",
    status_code=202,
    responses={
        202: {"description": "Durable and new.", "headers": _RESPONSE_HEADERS},
        200: {
            "model": Receipt,
            "headers": _RESPONSE_HEADERS,
            "description": "Stored before (`duplicate`), or no longer pending after"
            " `Prefer: wait`.",
        },
        **describe_problems(errors.EventIdConflict),
    },
)
def post_webhook(
    event: Event,
    webhook_id: Annotated[EventId, Header()],
    webhook_timestamp: TimestampHeader = None,
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=N`: wait up to N seconds until Supabase holds it, at most"
            f" {MAXIMUM_WAIT_SECONDS}.",
            examples=["wait=5"],
        ),
    ] = None,
    x_request_id: RequestIdHeader = None,
    traceparent: TraceParentHeader = None,
) -> Receipt:
    """At most 64 KiB. The response follows the commit."""
    raise NotImplementedError


@router.post(
    BATCH_PATH,
    operation_id="postWebhookBatch",
    summary="Send up to 1,000 events",
    status_code=202,
    responses={
        202: {"description": "Every valid event is durable.", "headers": _RESPONSE_HEADERS},
        200: {
            "model": BatchResult,
            "description": "No event was new.",
            "headers": _RESPONSE_HEADERS,
        },
    },
)
def post_webhook_batch(
    batch: Batch,
    webhook_id: Annotated[str | None, Header(description="Identifies this attempt.")] = None,
    webhook_timestamp: TimestampHeader = None,
    x_request_id: RequestIdHeader = None,
    traceparent: TraceParentHeader = None,
) -> BatchResult:
    """At most 1 MiB, signed over the whole body. An invalid event does not affect the others."""
    raise NotImplementedError
