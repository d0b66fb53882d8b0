"""Authentication of webhooks in each mode of WEBHOOK_AUTH, over HTTP."""

import json

import httpx
import pytest

from app.auth.webhook_keys import generate_key_pair
from tests.api.relay_harness import (
    WEBHOOK_SECRET,
    Fields,
    RelayStarter,
    RunningRelay,
    assert_problem,
    make_body,
)
from tests.auth.issuer import KEY_SET_URL, private_pem, public_jwk

CONTENT = json.dumps(make_body("membership.created")).encode()
BATCH = json.dumps({"events": [{"id": "evt_1", **make_body("membership.created")}]}).encode()
OTHER_SECRET = "whsec_" + "b" * 32


def sign_by(relay: RunningRelay, signature: str, content: bytes) -> Fields:
    match signature:
        case "valid":
            return relay.sign("evt_1", content)
        case "forged":
            return relay.sign("evt_1", content, secret=OTHER_SECRET)
        case _:
            return {"webhook-id": "evt_1"}


def bear_by(relay: RunningRelay, token: str, content: bytes) -> Fields:
    match token:
        case "valid":
            return relay.bear_for(content)
        case "other body":
            return relay.bear_for(content + b" ")
        case "no body":
            return relay.bear("webhooks:write")
        case "no scope":
            return relay.bear_for(content, "replay:write events:read")
        case "no scope, other body":
            return relay.bear_for(content + b" ", "replay:write")
        case "expired":
            return relay.bear_for(content, exp=int(relay.clock()) - 31)
        case "forged":
            return relay.bear_for(content, key=("HS256", "somebody-else's-secret-of-tokens"))
        case _:
            return {}


# Mode → what a webhook carries, as signature and token → what it is answered.
EXPECTED: dict[str, dict[tuple[str, str], int]] = {
    "hmac": {
        ("none", "valid"): 401,
        ("forged", "valid"): 401,
        ("none", "none"): 401,
        ("valid", "none"): 202,
        ("valid", "forged"): 202,
    },
    "jwt": {
        ("valid", "none"): 401,
        ("valid", "other body"): 401,
        ("valid", "no body"): 401,
        ("valid", "expired"): 401,
        ("valid", "forged"): 401,
        ("none", "no scope"): 403,
        ("none", "no scope, other body"): 401,
        ("none", "valid"): 202,
        ("forged", "valid"): 202,
    },
    "any": {
        ("forged", "other body"): 401,
        ("forged", "no body"): 401,
        ("none", "none"): 401,
        ("forged", "none"): 401,
        ("none", "no scope"): 403,
        ("valid", "none"): 202,
        ("valid", "forged"): 202,
        ("valid", "no scope"): 202,
        ("none", "valid"): 202,
        ("forged", "valid"): 202,
    },
    "both": {
        ("valid", "none"): 401,
        ("valid", "other body"): 401,
        ("valid", "no body"): 202,
        ("valid", "no scope"): 403,
        ("none", "valid"): 401,
        ("forged", "valid"): 401,
        ("forged", "no scope"): 401,
        ("valid", "valid"): 202,
    },
}


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/batch"])
@pytest.mark.parametrize("mode", EXPECTED)
async def test_webhook_in_each_mode_is_authenticated_by_its_credentials(
    starter: RelayStarter, mode: str, path: str
) -> None:
    content = BATCH if path.endswith("batch") else CONTENT
    answered = {}
    async with starter.start(webhook_auth=mode) as relay:
        for (signature, token), status in EXPECTED[mode].items():
            headers = sign_by(relay, signature, content) | bear_by(relay, token, content)
            response = await relay.post(path, content, headers)
            # Whatever is accepted here is accepted alone.
            stored = relay.query("DELETE FROM events RETURNING event_id")
            answered[signature, token] = response.status_code
            assert len(stored) == (1 if status == 202 else 0), (signature, token)
            if status == 401:
                assert_problem(response, 401, "unauthenticated")
            elif status == 403:
                assert_problem(response, 403, "scope-missing")
    assert answered == EXPECTED[mode]


async def test_webhook_with_a_token_alone_still_needs_an_id(starter: RelayStarter) -> None:
    async with starter.start(webhook_auth="jwt", webhook_secrets="") as relay:
        response = await relay.post("/webhooks", CONTENT, relay.bear_for(CONTENT))
        assert_problem(response, 422, "input-invalid")


async def test_webhook_in_mode_any_without_tokens_set_is_judged_by_its_signature(
    starter: RelayStarter,
) -> None:
    async with starter.start(webhook_auth="any", jwt_secret=None) as relay:
        token = relay.bear_for(CONTENT)
        assert_problem(await relay.post("/webhooks", CONTENT, token), 401, "unauthenticated")
        assert (await relay.send(CONTENT)).status_code == 202


async def test_webhook_during_rotation_may_be_signed_with_either_secret(
    starter: RelayStarter,
) -> None:
    async with starter.start(webhook_secrets=f"{OTHER_SECRET}, {WEBHOOK_SECRET}") as relay:
        for event_id, secret in (("evt_1", WEBHOOK_SECRET), ("evt_2", OTHER_SECRET)):
            signed = relay.sign(event_id, CONTENT, secret=secret)
            assert (await relay.post("/webhooks", CONTENT, signed)).status_code == 202
        forged = relay.sign("evt_3", CONTENT, secret="whsec_" + "c" * 32)
        assert_problem(await relay.post("/webhooks", CONTENT, forged), 401, "unauthenticated")


async def test_webhook_signed_with_a_private_key_is_accepted(starter: RelayStarter) -> None:
    pair = generate_key_pair()
    async with starter.start(webhook_secrets=pair.public) as relay:
        signed = relay.sign("evt_1", CONTENT, secret=pair.private)
        assert (await relay.post("/webhooks", CONTENT, signed)).status_code == 202
        assert_problem(await relay.send(CONTENT, "evt_2"), 401, "unauthenticated")


async def test_webhook_with_good_and_bad_signatures_is_accepted(relay: RunningRelay) -> None:
    signed = relay.sign("evt_1", CONTENT)
    signed["webhook-signature"] = f"v1,\u00e9 v9,x v1a,AA== {signed['webhook-signature']!s}"
    assert (await relay.post("/webhooks", CONTENT, signed)).status_code == 202


async def test_webhook_with_a_token_of_the_key_set_is_accepted(starter: RelayStarter) -> None:
    starter.key_server.keys.append(public_jwk("ES256"))
    async with starter.start(
        webhook_auth="jwt", jwt_secret=None, jwt_jwks_url=KEY_SET_URL
    ) as relay:
        signed = relay.bear_for(CONTENT, key=("ES256", private_pem("ES256")))
        response = await relay.post("/webhooks", CONTENT, {"webhook-id": "evt_1", **signed})
        assert response.status_code == 202
        forged = relay.bear_for(CONTENT)
        response = await relay.post("/webhooks", CONTENT, {"webhook-id": "evt_2", **forged})
        assert_problem(response, 401, "unauthenticated")


async def test_webhook_while_the_key_set_is_unavailable_gets_a_503(
    starter: RelayStarter,
) -> None:
    starter.key_server.answer = lambda _: httpx.Response(502)
    async with starter.start(
        webhook_auth="jwt", jwt_secret=None, jwt_jwks_url=KEY_SET_URL
    ) as relay:
        signed = relay.bear_for(CONTENT, key=("ES256", private_pem("ES256")))
        response = await relay.post("/webhooks", CONTENT, {"webhook-id": "evt_1", **signed})
        assert_problem(response, 503, "key-set-unavailable")
        assert int(response.headers["retry-after"]) >= 1
