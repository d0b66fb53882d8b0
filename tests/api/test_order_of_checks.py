"""The order of the checks, which is part of the contract, for every combination of faults."""

import itertools
import json
from collections.abc import Iterator

import pytest

from app.api.request_body import BATCH_BYTES, EVENT_BYTES, REPLAY_BYTES
from tests.api.relay_harness import RelayStarter, RunningRelay, make_body

FAULTS = {
    "size": (413, "body-too-large"),
    "type": (415, "media-type-unsupported"),
    "authenticity": (401, "unauthenticated"),
    "scope": (403, "scope-missing"),
    "form": (422, "input-invalid"),
    "id": (409, "event-id-conflict"),
}
BODIES = {
    "/webhooks": (make_body("user.created"), EVENT_BYTES),
    "/webhooks/batch": (
        {"events": [{"id": "evt_1", **make_body("user.created")}]},
        BATCH_BYTES,
    ),
    "/replay": ({"event_ids": ["evt_1"]}, REPLAY_BYTES),
}


def sets_of_faults(path: str) -> Iterator[tuple[str, ...]]:
    possible = FAULTS if path == "/webhooks" else [fault for fault in FAULTS if fault != "id"]
    for count in range(1, len(possible) + 1):
        yield from itertools.combinations(possible, count)


async def commit(relay: RunningRelay, path: str, faults: tuple[str, ...]) -> tuple[int, str]:
    body, limit = BODIES[path]
    if "id" in faults:
        body = make_body("user.created", username="somebody else")
    content = json.dumps(body).encode()
    if "form" in faults:
        content = content[:-1]
    if "size" in faults:
        content = content.ljust(limit + 1)
    scope = "events:read" if "scope" in faults else "webhooks:write replay:write"
    headers = {**relay.sign("evt_1", content), **relay.bear_for(content, scope)}
    if "authenticity" in faults:
        headers |= relay.bear_for(content, scope, exp=int(relay.clock()) - 60)
    if "type" in faults:
        headers["content-type"] = "text/plain"
    response = await relay.post(path, content, headers)
    return response.status_code, str(response.json().get("code"))


@pytest.mark.parametrize("path", BODIES)
async def test_request_with_several_faults_gets_the_first_in_order(
    starter: RelayStarter, path: str
) -> None:
    async with starter.start(webhook_auth="both") as relay:
        assert await commit(relay, "/webhooks", ()) == (202, "None")
        answers = {faults: await commit(relay, path, faults) for faults in sets_of_faults(path)}
    assert answers == {faults: FAULTS[faults[0]] for faults in answers}
    assert len(answers) == (63 if path == "/webhooks" else 31)


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/batch"])
@pytest.mark.parametrize(("forged", "status"), [(True, 401), (False, 403)])
async def test_request_with_a_forged_signature_learns_nothing_of_its_scope(
    starter: RelayStarter, path: str, forged: bool, status: int
) -> None:
    async with starter.start(webhook_auth="both") as relay:
        content = json.dumps(BODIES[path][0]).encode()
        secret = "whsec_" + "b" * 32 if forged else None
        signed = relay.sign("evt_1", content, **({} if secret is None else {"secret": secret}))
        response = await relay.post(path, content, {**signed, **relay.bear_for(content, "")})
        assert response.status_code == status
