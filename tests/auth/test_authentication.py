"""Authentication of webhooks in each mode, and authorization of operators."""

import base64
import hashlib
import hmac
from itertools import product

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.auth.authentication import Authenticator, WebhookAuth
from app.auth.claims import Scope, TokenFailure
from app.auth.signatures import SignatureFailure, SignatureVerifier, sign
from app.auth.tokens import TokenVerifier, mint_token
from app.domain.errors import (
    KeySetUnavailable,
    OperatorAccessNotConfigured,
    ScopeMissing,
    Unauthenticated,
)
from tests.auth import issuer
from tests.auth.issuer import KeyServer, private_pem, public_jwk

NOW = 1_767_225_600
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JWT_SECRET = "a secret of at least thirty-two bytes"
BODY = b'{"type": "user.deleted"}'
BODY_SHA256 = hashlib.sha256(BODY).hexdigest()

Refusal = type[Unauthenticated] | type[ScopeMissing] | None


def make_authenticator(
    mode: WebhookAuth, *, has_signatures: bool = True, has_tokens: bool = True
) -> Authenticator:
    signatures = SignatureVerifier([SECRET], tolerance_seconds=300)
    tokens = TokenVerifier(
        algorithms=["HS256"],
        secret=JWT_SECRET,
        key_set=None,
        issuer=None,
        audience=None,
        clock=lambda: float(NOW),
    )
    return Authenticator(
        mode,
        signatures=signatures if has_signatures else None,
        tokens=tokens if has_tokens else None,
        clock=lambda: float(NOW),
    )


def mint(secret: str = JWT_SECRET, **changes: object) -> str:
    claims = {
        "sub": "backend",
        "exp": NOW + 60,
        "scope": "webhooks:write",
        "request_body_sha256": BODY_SHA256,
    }
    merged = {**claims, **changes}
    claims_sent = {name: value for name, value in merged.items() if value is not None}
    return mint_token(claims_sent, secret=secret)


def make_signature_headers(signature: str) -> dict[bytes, bytes]:
    if signature == "absent":
        return {}
    signed = {"good": BODY, "other body": b"{}"}.get(signature, BODY)
    made = sign(SECRET, webhook_id="evt_1", timestamp=NOW, body=signed)
    return {
        b"webhook-id": b"evt_1",
        b"webhook-timestamp": str(NOW).encode(),
        b"webhook-signature": b"v1,AAAA" if signature == "bad" else made.encode(),
    }


def make_token_headers(token: str) -> dict[bytes, bytes]:
    made = {
        "good": mint(),
        "bad": mint("another secret of thirty-two bytes"),
        "no scope": mint(scope="events:read replay:write"),
        "other body": mint(request_body_sha256=hashlib.sha256(b"{}").hexdigest()),
    }
    return {} if token == "absent" else {b"authorization": f"Bearer {made[token]}".encode()}


async def assert_answers(
    authenticator: Authenticator, headers: dict[bytes, bytes], refusal: Refusal
) -> None:
    if refusal is None:
        await authenticator.authenticate_webhook(headers, BODY)
        return
    with pytest.raises(refusal):
        await authenticator.authenticate_webhook(headers, BODY)


# Webhooks: every mode, signature and token

ADMITTED = None
HMAC, JWT, ANY, BOTH = WebhookAuth.HMAC, WebhookAuth.JWT, WebhookAuth.ANY, WebhookAuth.BOTH
SIGNATURES = ["good", "bad", "other body", "absent"]
TOKENS = ["good", "bad", "no scope", "other body", "absent"]

BY_TOKEN: dict[str, Refusal] = {
    "good": ADMITTED,
    "bad": Unauthenticated,
    "no scope": ScopeMissing,
    "other body": Unauthenticated,
    "absent": Unauthenticated,
}
# mode → signature → token → outcome
OUTCOMES: dict[WebhookAuth, dict[str, dict[str, Refusal]]] = {
    HMAC: {
        "good": dict.fromkeys(TOKENS, ADMITTED),  # a token is not even looked at
        "bad": dict.fromkeys(TOKENS, Unauthenticated),
        "other body": dict.fromkeys(TOKENS, Unauthenticated),
        "absent": dict.fromkeys(TOKENS, Unauthenticated),
    },
    JWT: dict.fromkeys(SIGNATURES, BY_TOKEN),  # a signature is not even looked at
    ANY: {
        "good": dict.fromkeys(TOKENS, ADMITTED),
        "bad": BY_TOKEN,
        "other body": BY_TOKEN,
        "absent": BY_TOKEN,
    },
    BOTH: {
        "good": BY_TOKEN,
        "bad": dict.fromkeys(TOKENS, Unauthenticated),
        "other body": dict.fromkeys(TOKENS, Unauthenticated),
        "absent": dict.fromkeys(TOKENS, Unauthenticated),
    },
}


@pytest.mark.parametrize(
    ("mode", "signature", "token"), list(product(WebhookAuth, SIGNATURES, TOKENS))
)
async def test_webhook_in_each_mode_is_admitted_or_rejected(
    mode: WebhookAuth, signature: str, token: str
) -> None:
    headers = make_signature_headers(signature) | make_token_headers(token)
    await assert_answers(make_authenticator(mode), headers, OUTCOMES[mode][signature][token])


@pytest.mark.parametrize(
    ("mode", "has_signatures", "has_tokens", "signature", "token", "refusal"),
    [
        (ANY, True, False, "good", "absent", ADMITTED),
        (ANY, True, False, "bad", "good", Unauthenticated),
        (ANY, False, True, "good", "absent", Unauthenticated),
        (ANY, False, True, "good", "good", ADMITTED),
        (ANY, False, True, "absent", "no scope", ScopeMissing),
        (HMAC, True, False, "good", "absent", ADMITTED),
        (JWT, False, True, "absent", "good", ADMITTED),
        # Settings do not let these start; were they to, the authenticator would stay shut.
        (HMAC, False, True, "good", "good", Unauthenticated),
        (JWT, True, False, "good", "good", Unauthenticated),
        (BOTH, True, False, "good", "good", Unauthenticated),
        (BOTH, False, True, "good", "good", Unauthenticated),
        (ANY, False, False, "good", "good", Unauthenticated),
    ],
)
async def test_webhook_without_a_verifier_is_admitted_by_the_other_alone(
    mode: WebhookAuth,
    has_signatures: bool,
    has_tokens: bool,
    signature: str,
    token: str,
    refusal: Refusal,
) -> None:
    authenticator = make_authenticator(mode, has_signatures=has_signatures, has_tokens=has_tokens)
    headers = make_signature_headers(signature) | make_token_headers(token)
    await assert_answers(authenticator, headers, refusal)


# The token of a webhook


@pytest.mark.parametrize("claim", [None, "", "0" * 64, BODY_SHA256[:-1], f"{BODY_SHA256}0", 7])
@pytest.mark.parametrize("mode", [JWT, ANY])
async def test_webhook_with_a_token_alone_must_carry_the_digest_of_its_body(
    mode: WebhookAuth, claim: object
) -> None:
    headers = {b"authorization": f"Bearer {mint(request_body_sha256=claim)}".encode()}
    with pytest.raises(Unauthenticated) as caught:
        await make_authenticator(mode).authenticate_webhook(headers, BODY)
    assert caught.value.reason == "token-for-another-body"


async def test_webhook_with_a_signature_and_a_token_needs_no_digest_in_the_token() -> None:
    # The signature authenticates the body (section 4: "a webhook sent with only a JWT").
    headers = make_signature_headers("good") | {
        b"authorization": f"Bearer {mint(request_body_sha256=None)}".encode()
    }
    await make_authenticator(BOTH).authenticate_webhook(headers, BODY)


@pytest.mark.parametrize("mode", [JWT, ANY, BOTH])
@pytest.mark.parametrize(
    ("claim", "header", "is_admitted"),
    [
        ("evt_1", b"evt_1", True),
        ("a,b", b"a,b", True),
        ("\xe9 \x00", b"\xe9 \x00", True),
        ("evt_1", b"evt_2", False),
        ("evt_1", b"EVT_1", False),
        ("evt_1", b"evt_1 ", False),
        ("evt_1", b"evt_1, evt_1", False),
        ("evt_1", b"", False),
        ("evt_1", None, False),
        ("", None, False),
        ("", b"evt_1", False),
        ("\u0435vt_1", b"evt_1", False),  # a Cyrillic letter
        ("\u0435vt_1", "\u0435vt_1".encode(), False),
        ("\ud800", b"\xed\xa0\x80", False),
        ("evt_1\x00", b"evt_1", False),
    ],
)
async def test_webhook_with_a_token_for_an_id_is_admitted_under_that_id_alone(
    mode: WebhookAuth, claim: str, header: bytes | None, is_admitted: bool
) -> None:
    headers = {b"authorization": f"Bearer {mint(webhook_id=claim)}".encode()}
    if header is not None:
        headers[b"webhook-id"] = header
    if mode is BOTH:
        content = b"%b.%d.%b" % (header or b"", NOW, BODY)
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        made = base64.b64encode(hmac.digest(key, content, "sha256"))
        headers[b"webhook-signature"] = b"v1," + made
        headers[b"webhook-timestamp"] = b"%d" % NOW
    if is_admitted:
        await make_authenticator(mode).authenticate_webhook(headers, BODY)
        return
    with pytest.raises(Unauthenticated) as caught:
        await make_authenticator(mode).authenticate_webhook(headers, BODY)
    reasons = {"token-for-another-id"}
    if mode is BOTH and not header:
        reasons = {SignatureFailure.HEADER_MISSING}
    assert {caught.value.reason} == reasons


@pytest.mark.parametrize("claim", [7, True, ["evt_1"], {}])
async def test_webhook_with_a_token_for_an_id_that_is_no_text_is_rejected(claim: object) -> None:
    headers = {b"authorization": f"Bearer {mint(webhook_id=claim)}".encode(), b"webhook-id": b"7"}
    with pytest.raises(Unauthenticated):
        await make_authenticator(JWT).authenticate_webhook(headers, BODY)


async def test_webhook_digest_in_capitals_is_admitted() -> None:
    token = mint(request_body_sha256=BODY_SHA256.upper())
    await make_authenticator(JWT).authenticate_webhook(
        {b"authorization": f"Bearer {token}".encode()}, BODY
    )


async def test_webhook_with_a_token_for_another_body_and_no_scope_is_unauthenticated() -> None:
    # 401 before 403: a captured token reveals nothing about its scopes.
    token = mint(scope="events:read", request_body_sha256="0" * 64)
    with pytest.raises(Unauthenticated):
        await make_authenticator(JWT).authenticate_webhook(
            {b"authorization": f"Bearer {token}".encode()}, BODY
        )


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "Bearer   "])
async def test_authorization_scheme_is_read_in_any_case(scheme: str) -> None:
    headers = {b"authorization": f"{scheme}{mint()} ".encode()}
    await make_authenticator(JWT).authenticate_webhook(headers, BODY)


@pytest.mark.parametrize(
    "authorization", [b"", b"Basic dXNlcjpwYXNz", b" Bearer x", b"Bearer\tx", b"\xff"]
)
async def test_authorization_that_is_no_bearer_token_is_rejected(authorization: bytes) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await make_authenticator(JWT).authenticate_webhook({b"authorization": authorization}, BODY)
    assert caught.value.reason == "bearer-missing"


async def test_authorization_without_its_scheme_is_rejected() -> None:
    with pytest.raises(Unauthenticated):
        await make_authenticator(JWT).authenticate_webhook(
            {b"authorization": mint().encode()}, BODY
        )


@pytest.mark.parametrize(
    ("mode", "headers", "reason"),
    [
        (HMAC, {}, SignatureFailure.HEADER_MISSING),
        (BOTH, {}, SignatureFailure.HEADER_MISSING),
        (ANY, {}, SignatureFailure.HEADER_MISSING),
        (JWT, {}, "bearer-missing"),
        (ANY, {b"authorization": b"Bearer x"}, TokenFailure.MALFORMED),
    ],
)
async def test_rejection_tells_the_reason_to_the_log_and_one_sentence_to_the_caller(
    mode: WebhookAuth, headers: dict[bytes, bytes], reason: str
) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await make_authenticator(mode).authenticate_webhook(headers, BODY)
    assert caught.value.reason == reason
    assert str(caught.value) == "The request is not authenticated."


@given(
    mode=st.sampled_from(WebhookAuth),
    headers=st.dictionaries(
        st.sampled_from(
            [b"authorization", b"webhook-id", b"webhook-timestamp", b"webhook-signature"]
        ),
        st.binary() | st.binary().map(lambda value: b"Bearer " + value) | st.just(b"1767225600"),
    ),
    body=st.binary(),
)
async def test_webhook_with_any_headers_and_body_is_rejected(
    mode: WebhookAuth, headers: dict[bytes, bytes], body: bytes
) -> None:
    with pytest.raises(Unauthenticated):
        await make_authenticator(mode).authenticate_webhook(headers, body)


# Header lines of one name, which arrive joined by ", " (RFC 9110, section 5.3)


@pytest.mark.parametrize("mode", [HMAC, ANY, BOTH])
@pytest.mark.parametrize("separator", [b", ", b",", b" "])
@pytest.mark.parametrize("other", [b"v1,AAAA", b"v2,x", b"", b"v1", b"v1a,\xff"])
async def test_webhook_with_several_signature_lines_is_admitted_if_one_is_good(
    mode: WebhookAuth, separator: bytes, other: bytes
) -> None:
    headers = make_signature_headers("good") | make_token_headers("good")
    good = headers[b"webhook-signature"]
    for lines in ([good, other], [other, good], [other, good, other]):
        await make_authenticator(mode).authenticate_webhook(
            headers | {b"webhook-signature": separator.join(lines)}, BODY
        )


@pytest.mark.parametrize("mode", [HMAC, ANY, BOTH])
@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp"])
@pytest.mark.parametrize("second", ["same", b"evt_2", b"1767225601", b""])
async def test_webhook_with_a_repeated_signed_header_is_rejected(
    mode: WebhookAuth, name: bytes, second: bytes | str
) -> None:
    headers = make_signature_headers("good")
    if mode is BOTH:
        headers |= make_token_headers("good")
    for joined in (b"%b, %b", b"%b,%b"):
        line = headers[name] if second == "same" else second
        with pytest.raises(Unauthenticated):
            await make_authenticator(mode).authenticate_webhook(
                headers | {name: joined % (headers[name], line)}, BODY
            )
        with pytest.raises(Unauthenticated):
            await make_authenticator(mode).authenticate_webhook(
                headers | {name: joined % (line or b"x", headers[name])}, BODY
            )


@pytest.mark.parametrize("mode", [JWT, ANY, BOTH])
@pytest.mark.parametrize("second", ["good", "bad"])
@pytest.mark.parametrize("separator", [b", ", b","])
async def test_webhook_with_repeated_authorization_is_rejected(
    mode: WebhookAuth, second: str, separator: bytes
) -> None:
    headers = make_signature_headers("good" if mode is BOTH else "absent")
    lines = [make_token_headers(token)[b"authorization"] for token in ("good", second)]
    for joined in (separator.join(lines), separator.join(reversed(lines))):
        with pytest.raises(Unauthenticated):
            await make_authenticator(mode).authenticate_webhook(
                headers | {b"authorization": joined}, BODY
            )


async def test_operator_with_repeated_authorization_is_rejected() -> None:
    line = f"Bearer {mint(scope='events:read')}".encode()
    with pytest.raises(Unauthenticated):
        await make_authenticator(JWT).authorize_operator(line + b", " + line, Scope.EVENTS_READ)


# Operators


@pytest.mark.parametrize("mode", WebhookAuth)
@pytest.mark.parametrize("scope", [Scope.EVENTS_READ, Scope.REPLAY_WRITE])
async def test_operator_with_the_scope_is_admitted_in_every_mode(
    mode: WebhookAuth, scope: Scope
) -> None:
    token = mint(sub="ops", scope=scope.value, request_body_sha256=None)
    claims = await make_authenticator(mode).authorize_operator(f"Bearer {token}".encode(), scope)
    assert claims.subject == "ops"


async def test_operator_without_the_scope_learns_its_name() -> None:
    token = mint(scope="webhooks:write events:read")
    with pytest.raises(ScopeMissing, match="replay:write"):
        await make_authenticator(HMAC).authorize_operator(
            f"Bearer {token}".encode(), Scope.REPLAY_WRITE
        )


@pytest.mark.parametrize("authorization", [None, b"", b"Bearer ", b"Bearer x.y.z", b"Basic x"])
async def test_operator_without_a_valid_token_is_unauthenticated(
    authorization: bytes | None,
) -> None:
    with pytest.raises(Unauthenticated):
        await make_authenticator(HMAC).authorize_operator(authorization, Scope.EVENTS_READ)


@pytest.mark.parametrize("authorization", [None, b"Bearer x.y.z"])
async def test_operator_without_jwt_settings_gets_a_403(
    authorization: bytes | None,
) -> None:
    authenticator = make_authenticator(HMAC, has_tokens=False)
    with pytest.raises(OperatorAccessNotConfigured):
        await authenticator.authorize_operator(authorization, Scope.EVENTS_READ)


# Tokens of an issuer with a key set


def make_issuer_authenticator(mode: WebhookAuth, server: KeyServer) -> Authenticator:
    tokens = TokenVerifier(
        algorithms=["ES256"],
        secret=None,
        key_set=server.connect(),
        issuer=None,
        audience=None,
        clock=lambda: float(NOW),
    )
    signatures = SignatureVerifier([SECRET], tolerance_seconds=300)
    return Authenticator(mode, signatures=signatures, tokens=tokens, clock=lambda: float(NOW))


def mint_asymmetric() -> bytes:
    claims = {
        "sub": "ops",
        "exp": NOW + 60,
        "scope": "events:read webhooks:write",
        "request_body_sha256": BODY_SHA256,
    }
    key = private_pem("ES256")
    return f"Bearer {issuer.mint(claims, key, 'ES256')}".encode()


async def test_issuer_with_known_keys_authenticates_operators_and_webhooks() -> None:
    authenticator = make_issuer_authenticator(WebhookAuth.JWT, KeyServer([public_jwk("ES256")]))
    claims = await authenticator.authorize_operator(mint_asymmetric(), Scope.EVENTS_READ)
    assert claims.subject == "ops"
    await authenticator.authenticate_webhook({b"authorization": mint_asymmetric()}, BODY)


@pytest.mark.parametrize("mode", [JWT, ANY, BOTH])
async def test_issuer_that_is_unreachable_causes_a_503(mode: WebhookAuth) -> None:
    server = KeyServer(answer=lambda _: httpx.Response(503))
    signature = make_signature_headers("good" if mode is BOTH else "absent")
    with pytest.raises(KeySetUnavailable):
        await make_issuer_authenticator(mode, server).authenticate_webhook(
            signature | {b"authorization": mint_asymmetric()}, BODY
        )


@pytest.mark.parametrize("mode", [HMAC, ANY])
async def test_issuer_is_not_called_for_signed_webhooks(mode: WebhookAuth) -> None:
    server = KeyServer(answer=lambda _: httpx.Response(503))
    headers = make_signature_headers("good") | {b"authorization": mint_asymmetric()}
    await make_issuer_authenticator(mode, server).authenticate_webhook(headers, BODY)
    assert server.requests == []


async def test_issuer_is_not_called_for_unsigned_webhooks_with_both() -> None:
    server = KeyServer([public_jwk("ES256")])
    with pytest.raises(Unauthenticated):
        await make_issuer_authenticator(BOTH, server).authenticate_webhook(
            {b"authorization": mint_asymmetric()}, BODY
        )
    assert server.requests == []
