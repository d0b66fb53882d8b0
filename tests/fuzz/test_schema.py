"""Requests that schemathesis generates from the OpenAPI document, sent over the wire.

Every operation receives valid and invalid data, once authenticated and once not.
"""

import contextlib
import hashlib
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import requests
import schemathesis
import uvicorn
from hypothesis import HealthCheck, settings
from openapi_schema_validator import OAS31Validator
from requests.auth import AuthBase
from schemathesis import checks

from app.api.routes import create_api
from app.auth.signatures import sign
from app.auth.tokens import mint_token
from app.domain.events import EventType
from app.settings import Settings
from tests.api.relay_harness import JWT_SECRET, NOW, WEBHOOK_SECRET, RelayStarter, make_body
from tests.examples import EXAMPLES
from tests.fake_postgrest import FakePostgrest

_PATIENCE_SECONDS: Final = 60.0
_OPEN: Final = {
    *("/health", "/health/live", "/health/ready", "/metrics"),
    *("/", "/openapi.json", "/docs", "/docs/problems"),
}

pytestmark = pytest.mark.timeout(120 + EXAMPLES)

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    # One relay serves all examples, and a batch of nine event types is large.
    suppress_health_check=list(HealthCheck),
)

document = create_api().openapi()
schema = schemathesis.openapi.from_dict(document)

# Accepted requests have the documented form, except for batches: they may hold invalid events.
_FORMS: Final = {
    operation: OAS31Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    )
    for operation, name in (("POST /webhooks", "Event"), ("POST /replay", "ReplayBody"))
}

checks.load_all_checks()
CONFORMS: Final[list[Any]] = [
    checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
    )
]


@dataclass(frozen=True)
class Relay:
    """A relay behind a real server, and a client of it.

    Attributes:
        url: where it is.
        folder: holds its store.
        client: keeps its connection.
    """

    url: str
    folder: Path
    client: requests.Session

    def call(self, case: schemathesis.Case[Any], caller: AuthBase) -> schemathesis.Response:
        """Send a case, and validate the response against the document."""
        response = case.call(base_url=self.url, session=self.client, auth=caller)
        case.validate_response(response, checks=CONFORMS)
        return response

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the store's file by a connection of one's own."""
        with contextlib.closing(sqlite3.connect(self.folder / "relay.db")) as connection:
            return connection.execute(statement).fetchall()


class Authenticated(AuthBase):
    """Authenticates the final request: half the webhooks by signature, all others by token.

    A webhook without an id cannot be signed and carries a token.
    """

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        assert isinstance(body, bytes | str), "schemathesis streams nothing"
        content = body.encode() if isinstance(body, str) else body
        event_id = request.headers.get("webhook-id") or ""
        event_id = event_id if isinstance(event_id, str) else event_id.decode("latin-1")
        digest = hashlib.sha256(content).hexdigest()
        is_webhook = (request.path_url or "").startswith("/webhooks")
        if is_webhook and event_id and event_id.isascii() and digest[0] in "01234567":
            request.headers.pop("authorization", None)
            request.headers["webhook-timestamp"] = str(int(NOW))
            request.headers["webhook-signature"] = sign(
                WEBHOOK_SECRET, webhook_id=event_id, timestamp=int(NOW), body=content
            )
            return request
        claims = {
            "sub": "ops@nomadcrew.test",
            "exp": int(NOW) + 60,
            "scope": "webhooks:write events:read replay:write",
            "request_body_sha256": digest,
        }
        request.headers["authorization"] = f"Bearer {mint_token(claims, secret=JWT_SECRET)}"
        return request


class Unauthenticated(AuthBase):
    """Sends the generated request unchanged."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayStarter]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (*Settings.model_fields, "supabase_secret_key"):
            patch.delenv(name.upper(), raising=False)
        yield RelayStarter(tmp_path_factory.mktemp("fuzzed"), FakePostgrest())


@pytest.fixture(scope="module")
def relay(starter: RelayStarter) -> Iterator[Relay]:
    """A relay that accepts signatures and tokens, with its lifespan, on a loopback socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            starter.make_app(webhook_auth="any"),
            log_config=None,  # leaves the logging of other tests unchanged
            timeout_keep_alive=600,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="relay")
    thread.start()
    try:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not server.started:
            assert thread.is_alive(), "the relay did not start"
            assert time.monotonic() < until, "the relay did not start in time"
            thread.join(0.01)
        with requests.Session() as client:
            client.trust_env = False  # no .netrc, no proxy
            yield Relay(f"http://127.0.0.1:{listener.getsockname()[1]}", starter.folder, client)
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_SECONDS)
        listener.close()
    assert not thread.is_alive(), "the relay did not stop"


# Unauthenticated requests come first: the store must stay empty.
@schema.parametrize()
@fuzzed
def test_any_unauthenticated_operation_conforms_and_reveals_nothing(
    case: schemathesis.Case[Any], relay: Relay
) -> None:
    response = relay.call(case, Unauthenticated())
    assert response.status_code < 500
    if case.operation.path not in _OPEN:
        # Not even whether an event exists; an unknown path is not found.
        is_no_path = b'"path-not-found"' in response.content
        assert response.status_code in (401, 405, 413, 415) or is_no_path


def test_store_after_unauthenticated_requests_is_empty(relay: Relay) -> None:
    for table in ("events", "entities", "replays"):
        assert relay.query(f"SELECT * FROM {table}") == [], table  # noqa: S608  # our own names


@schema.parametrize()
@fuzzed
def test_any_authenticated_operation_conforms(case: schemathesis.Case[Any], relay: Relay) -> None:
    response = relay.call(case, Authenticated())
    assert response.status_code < 500
    form = _FORMS.get(case.operation.label)
    if form is not None and response.status_code in (200, 202):
        sent = response.request.body
        assert isinstance(sent, bytes | str)
        form.validate(json.loads(sent))


@pytest.mark.parametrize("event_type", list(EventType))
def test_valid_authenticated_event_conforms_and_is_accepted(
    event_type: EventType, relay: Relay
) -> None:
    case = schema["/webhooks"]["POST"].Case(
        headers={"webhook-id": f"evt/{event_type}"},
        body=make_body(event_type),
        media_type="application/json",
    )
    assert relay.call(case, Authenticated()).status_code == 202
    assert relay.call(case, Authenticated()).status_code == 200


def test_every_accepted_event_is_found_and_conforms(relay: Relay) -> None:
    ids = [event_id for (event_id,) in relay.query("SELECT event_id FROM events LIMIT 500")]
    assert len(ids) >= len(EventType)
    operation = schema["/events/{event_id}"]["GET"]
    for event_id in ids:
        # schemathesis expects a quoted value; no client sends a path of dots alone.
        quoted = quote(event_id, safe="")
        if not quoted.strip("."):
            continue
        response = relay.call(operation.Case(path_parameters={"event_id": quoted}), Authenticated())
        assert response.status_code == 200, event_id
        unauthenticated = relay.call(
            operation.Case(path_parameters={"event_id": quoted}), Unauthenticated()
        )
        assert unauthenticated.status_code == 401
        assert response.json()["event_id"] == event_id


def test_every_requested_replay_is_found_and_conforms(relay: Relay) -> None:
    begun = schema["/replay"]["POST"].Case(body={"all": True}, media_type="application/json")
    assert relay.call(begun, Authenticated()).status_code == 202
    ids = [replay_id for (replay_id,) in relay.query("SELECT replay_id FROM replays LIMIT 200")]
    operation = schema["/replay/{replay_id}"]["GET"]
    for replay_id in ids:
        case = operation.Case(path_parameters={"replay_id": replay_id})
        response = relay.call(case, Authenticated())
        assert (response.status_code, response.json()["replay_id"]) == (200, replay_id)
        assert relay.call(case, Unauthenticated()).status_code == 401


@pytest.mark.parametrize(("path", "items"), [("/events", "events"), ("/replay", "replays")])
def test_every_page_of_a_listing_conforms_and_nothing_is_listed_twice(
    path: str, items: str, relay: Relay
) -> None:
    operation = schema[path]["GET"]
    names, query = list[str](), dict[str, Any](limit=200)
    while query.get("cursor", "") is not None:
        response = relay.call(operation.Case(query=query), Authenticated())
        assert response.status_code == 200
        assert relay.call(operation.Case(query=query), Unauthenticated()).status_code == 401
        page = response.json()
        names += [item["event_id" if path == "/events" else "replay_id"] for item in page[items]]
        query["cursor"] = page["next_cursor"]
    assert len(set(names)) == len(names)
    table = "events" if path == "/events" else "replays"
    assert [(len(names),)] == relay.query(f"SELECT count(*) FROM {table}")  # noqa: S608 - ours


def test_every_path_but_the_open_ones_is_documented_as_protected() -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert bool(operation.get("security")) == (path not in _OPEN), path
