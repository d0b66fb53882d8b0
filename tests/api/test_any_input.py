"""No input causes an internal error, and only signed and valid input is accepted."""

import hashlib
import json
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from app.domain.events import EventType
from tests.api.relay_harness import JWT_SECRET, WEBHOOK_SECRET, RunningRelay, make_body
from tests.examples import with_shared_fixtures

# JSON allows lone surrogates and NUL.
ANY_TEXT = st.text(max_size=12) | st.text("a/~.\x00\ud800é\u2028", max_size=4)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(ANY_TEXT, values, max_size=3),
    max_leaves=6,
)
# Not content-length: it is the server's to judge, and uvicorn lets no number through but one.
HEADER_NAMES = st.sampled_from(
    [
        b"content-type",
        b"webhook-id",
        b"webhook-timestamp",
        b"webhook-signature",
        b"authorization",
        b"prefer",
        b"expect",
        b"x-request-id",
    ]
)
HEADER_VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"application/json",
            b"1767323045",
            b"v1,",
            b"v1," + b"A" * 43 + b"=",
            b"v1a," + b"A" * 86 + b"==",
            b"Bearer a.b.c",
            b"Bearer eyJhbGciOiJub25lIn0.e30.e30",
            b"Bearer " + JWT_SECRET.encode(),
            WEBHOOK_SECRET.encode(),
            b"wait=99999999999",
        ]
    ),
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=8)
WRITING_PATHS = st.sampled_from(["/webhooks", "/webhooks/batch", "/replay"])

INVALID_IDS = st.sampled_from(["", "123e4567", "123e4567-e89b-12d3-a456-42661417400g", None, 7])
INVALID_TIMESTAMPS = st.sampled_from(
    ["2026-01-02T03:04:05", "2026-02-30T00:00:00Z", "9999-01-01T00:00:00Z", "now", 1767323045, None]
)


@st.composite
def near_events(draw: st.DrawFn) -> tuple[dict[str, Any], bool]:
    """Generate events that are valid or wrong in a few places, and say which."""
    body = make_body(draw(st.sampled_from(sorted(EventType))))
    faults = draw(st.sets(st.sampled_from(["type", "timestamp", "data", "id", "missing"])))
    if "type" in faults:
        body["type"] = draw(ANY_JSON)
    if "timestamp" in faults:
        body["timestamp"] = draw(INVALID_TIMESTAMPS)
    if "id" in faults:
        body["data"][draw(st.sampled_from(sorted(body["data"])))] = draw(
            st.none() | st.integers() | st.just("\ud800")
        )
    if "data" in faults:
        body["data"] = draw(ANY_JSON)
    if "missing" in faults:
        del body[draw(st.sampled_from(sorted(body)))]
    if not faults and isinstance(body["data"], dict):
        body["data"] |= draw(st.dictionaries(st.just("extra") | st.just("x/y"), ANY_JSON))
    return body, not faults


async def send_named_by_content(relay: RunningRelay, path: str, content: bytes) -> int:
    """Send it signed, under an id that no other content has."""
    response = await relay.send(content, hashlib.sha256(content).hexdigest(), path=path)
    return response.status_code


@with_shared_fixtures
@given(path=WRITING_PATHS, content=st.binary(max_size=200), headers=HEADERS)
async def test_any_bytes_unsigned_are_rejected(
    relay: RunningRelay, path: str, content: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    response = await relay.http.post(path, content=content, headers=headers)
    assert response.status_code in (401, 415)


@with_shared_fixtures
@given(path=WRITING_PATHS, event=near_events(), headers=HEADERS)
async def test_any_event_unsigned_is_rejected(
    relay: RunningRelay,
    path: str,
    event: tuple[dict[str, Any], bool],
    headers: list[tuple[bytes, bytes]],
) -> None:
    content = json.dumps(event[0]).encode()
    declared = [(b"content-type", b"application/json"), *headers]
    response = await relay.http.post(path, content=content, headers=declared)
    assert response.status_code in (401, 415)


@with_shared_fixtures
@given(
    path=st.sampled_from(["/webhooks", "/webhooks/batch"]),
    content=st.binary(max_size=200) | ANY_JSON.map(lambda value: json.dumps(value).encode()),
)
async def test_any_bytes_signed_are_invalid(relay: RunningRelay, path: str, content: bytes) -> None:
    assert await send_named_by_content(relay, path, content) == 422


@with_shared_fixtures
@given(event=near_events())
async def test_any_event_signed_is_accepted_if_valid_and_else_invalid(
    relay: RunningRelay, event: tuple[dict[str, Any], bool]
) -> None:
    body, is_valid = event
    status = await send_named_by_content(relay, "/webhooks", json.dumps(body).encode())
    assert status in ((200, 202) if is_valid else (422,))


@with_shared_fixtures
@given(events=st.lists(near_events() | st.tuples(ANY_JSON, st.just(False)), min_size=1, max_size=4))
async def test_any_batch_signed_judges_each_event_alone(
    relay: RunningRelay, events: list[tuple[Any, bool]]
) -> None:
    items: list[Any] = []
    for body, _ in events:
        digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        items.append({"id": digest, **body} if isinstance(body, dict) else body)
    response = await relay.send_batch(*items)
    assert response.status_code in (200, 202)
    accepted = [
        result["status"] in ("accepted", "duplicate") for result in response.json()["results"]
    ]
    assert accepted == [is_valid for _, is_valid in events]


@with_shared_fixtures
@given(event_id=st.text(max_size=20), value=HEADER_VALUES, name=HEADER_NAMES)
async def test_any_header_beside_a_signed_event_is_no_fault(
    relay: RunningRelay, event_id: str, name: bytes, value: bytes
) -> None:
    content = json.dumps(make_body("user.created")).encode()
    headers = relay.sign(event_id, content)
    raw = {field.encode(): text.encode() for field, text in headers.items()} | {name: value}
    response = await relay.http.post("/webhooks", content=content, headers=list(raw.items()))
    assert response.status_code in (200, 202, 401, 415, 422)
    is_visible = event_id.isascii() and event_id.isprintable() and " " not in event_id
    if response.is_success:
        assert is_visible
        assert event_id


REPLAYS = st.one_of(
    st.fixed_dictionaries({"event_ids": st.lists(ANY_TEXT, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"status": st.sampled_from(["dead", "pending", "applied"])}),
    st.just({"all": True}),
    st.dictionaries(
        st.sampled_from(["event_ids", "status", "all", "dry_run"]) | ANY_TEXT, ANY_JSON
    ),
)


@with_shared_fixtures
@given(
    content=st.binary(max_size=200) | REPLAYS.map(lambda body: json.dumps(body).encode()),
    subject=ANY_TEXT | st.none(),
)
async def test_any_replay_of_an_operator_is_done_or_invalid(
    relay: RunningRelay, content: bytes, subject: str | None
) -> None:
    response = await relay.post("/replay", content, relay.bear("replay:write", sub=subject))
    assert response.status_code in (202, 401, 422)


@with_shared_fixtures
@given(event_id=st.text(max_size=40) | st.binary(max_size=40))
async def test_any_event_id_looked_up_is_not_found(
    relay: RunningRelay, event_id: str | bytes
) -> None:
    quoted = quote(event_id, safe="").replace(".", "%2E")
    response = await relay.look_up(quoted)
    assert response.status_code == 404
