"""The OpenAPI document."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.examples import EXAMPLES
from app.api.reconcile_bodies import ReconcileBody
from app.api.replay_bodies import ReplayBody
from app.api.webhook_docs import FieldError, Problem

_DESCRIPTION: Final = """\
Accepts signed change events of users, trips and memberships, stores them durably, and makes
Supabase's permission tables match the desired state.

A 202 means that the event is on disk. Any order, repetition or replay of the same events ends in
the same state. Every error is an RFC 9457 problem with a stable `code`; its `type` is the URL of
the code's documentation.
"""

_TAGS: Final = {
    "webhooks": "For the backend.",
    "events": "For operators: look up events, the desired state and exposure.",
    "replay": "For operators: re-sync entities.",
    "reconcile": "For operators: check that Supabase equals the desired state.",
    "console": "For operators: open the console, the relay's pages at `/console`.",
    "health": "For monitoring and orchestrators.",
    "documentation": "For developers: this reference, as a page and as an OpenAPI document.",
}


def describe_api(app: FastAPI) -> None:
    """Make `app.openapi()` return the document."""

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
        # Relative to the document's own URL, so that it is right behind a proxy too.
        servers=[{"url": "/", "description": "The relay that serves this document"}],
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    # FastAPI's own validation errors are problems here.
    for item in document["paths"].values():
        for operation in item.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
            for parameter in operation.get("parameters", ()):
                _remove_null(parameter["schema"])
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    # These schemas stand behind references that FastAPI does not follow.
    for model in (ReplayBody, ReconcileBody, Problem, FieldError):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**schema.pop("$defs", {}), model.__name__: schema}
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    # The accepted values are settings.
    for name in ("role", "status"):
        setting = "MEMBERSHIP_ROLES" if name == "role" else "MEMBERSHIP_STATUSES"
        schemas["MembershipRow"]["properties"][name]["description"] = f"One of {setting}."
    return document


def _remove_null(schema: dict[str, Any]) -> None:
    """Remove the null of an optional parameter, which is absent and never null."""
    options = schema.get("anyOf", [])
    if len(options) == 2 and options[1] == {"type": "null"}:
        del schema["anyOf"]
        schema |= options[0]
