"""Valid tokens, and every kind of invalid one."""

import base64
import hashlib
import hmac
import json
import warnings
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.auth.claims import Claims, Scope, TokenFailure
from app.auth.jwks import KeySet
from app.auth.tokens import TokenVerifier, mint_token
from app.domain.errors import ConfigurationInvalid, ScopeMissing, Unauthenticated
from tests.auth import issuer
from tests.auth.issuer import KeyServer, private_pem, public_jwk, public_pem, serve_keys

NOW = 1_767_225_600
SECRET = "a secret of at least thirty-two bytes"
CLAIMS: Mapping[str, object] = {"sub": "backend", "exp": NOW + 60, "scope": "events:read"}
ASYMMETRIC = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
# A set without any usable key counts as a failed fetch, so this one makes it usable.
OTHER_KEY = public_jwk("ES256", "other", "other")


def make_verifier(*algorithms: str, key_set: KeySet | None = None, **options: Any) -> TokenVerifier:
    settings: dict[str, Any] = {
        "algorithms": algorithms or ("HS256",),
        "secret": SECRET,
        "key_set": key_set,
        "issuer": None,
        "audience": None,
        "clock": lambda: float(NOW),
    }
    return TokenVerifier(**(settings | options))


def mint(claims: Mapping[str, object] = CLAIMS, **changes: object) -> str:
    return mint_token({**claims, **changes}, secret=SECRET)


def mint_asymmetric(algorithm: str, *, kid: str | None = "key-1", name: str = "first") -> str:
    secret = private_pem(algorithm, name)
    return issuer.mint(CLAIMS, secret, algorithm, kid)


def encode(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def forge(
    header: Mapping[str, object] | bytes,
    payload: Mapping[str, object] | bytes = json.dumps(CLAIMS).encode(),
    *,
    secret: bytes = SECRET.encode(),
) -> str:
    """Make a token by hand, of any header and payload, with an HMAC-SHA256 under `secret`."""
    parts = [
        encode(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in (header, payload)
    ]
    signature = hmac.digest(secret, b".".join(parts), "sha256")
    return b".".join([*parts, encode(signature)]).decode()


async def assert_accepted(verifier: TokenVerifier, token: str) -> None:
    assert (await verifier.verify(token)).subject == "backend"


async def assert_refused(verifier: TokenVerifier, token: str, failure: TokenFailure) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.reason == failure


# What is accepted


async def test_token_with_all_claims_returns_them() -> None:
    token = mint(
        nbf=NOW - 1,
        iat=NOW - 1,
        iss="x",
        aud="y",
        at_hash="z",
        request_body_sha256="AB" * 32,
        webhook_id="evt_1",
    )
    assert await make_verifier().verify(token) == Claims(
        subject="backend",
        scopes=frozenset({"events:read"}),
        expires_at=NOW + 60,
        request_body_sha256="ab" * 32,
        webhook_id="evt_1",
    )


async def test_token_with_expiry_alone_allows_nothing() -> None:
    claims = await make_verifier().verify(mint({"exp": NOW + 0.5}))
    assert claims == Claims(
        subject=None,
        scopes=frozenset(),
        expires_at=NOW + 0.5,
        request_body_sha256=None,
        webhook_id=None,
    )


@pytest.mark.parametrize("webhook_id", [None, 7, True, ["evt_1"], {"evt_1": 1}, 1.5])
async def test_token_with_a_malformed_webhook_id_is_rejected(webhook_id: object) -> None:
    token = mint(webhook_id=webhook_id)
    await assert_refused(make_verifier(), token, TokenFailure.CLAIMS_MALFORMED)


@pytest.mark.parametrize("webhook_id", ["", "evt_1", "a, b", "\0", "\ud800", "é", "x" * 4000])
async def test_token_with_any_text_as_its_webhook_id_returns_it(webhook_id: str) -> None:
    claims = await make_verifier().verify(mint(webhook_id=webhook_id))
    assert claims.webhook_id == webhook_id


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_token_with_shared_secret_is_accepted(algorithm: str) -> None:
    token = issuer.mint(CLAIMS, SECRET, algorithm)
    await assert_accepted(make_verifier(algorithm), token)


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
@pytest.mark.parametrize("kid", ["key-1", None])
async def test_token_with_key_of_the_set_is_accepted(algorithm: str, kid: str | None) -> None:
    key_set = serve_keys(public_jwk(algorithm), {"kty": "oct", "kid": "key-1", "k": "AAAA"})
    verifier = make_verifier(algorithm, key_set=key_set)
    await assert_accepted(verifier, mint_asymmetric(algorithm, kid=kid))


async def test_token_with_key_without_optional_members_is_accepted() -> None:
    key_set = serve_keys(public_jwk("ES256", alg=None, use=None))
    verifier = make_verifier("ES256", key_set=key_set)
    await assert_accepted(verifier, mint_asymmetric("ES256"))


async def test_token_with_a_key_set_that_shows_private_keys_is_accepted() -> None:
    from_pem = public_jwk("RS256")
    key_set = serve_keys(from_pem | {"d": "AQAB"})
    with warnings.catch_warnings(record=True) as caught:
        await assert_accepted(make_verifier("RS256", key_set=key_set), mint_asymmetric("RS256"))
    assert caught == []


@pytest.mark.parametrize("secret", ["123", "null", "true", '{"keys": []}', "[]", '"x"', "é"])
async def test_token_with_secret_that_reads_as_json_is_accepted(secret: str) -> None:
    verifier = make_verifier(secret=secret)
    await assert_accepted(verifier, mint_token(CLAIMS, secret=secret))
    await assert_refused(verifier, mint(), TokenFailure.SIGNATURE_INVALID)


# The algorithm comes from configuration


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "nOnE"])
@pytest.mark.parametrize("signature", ["", "AAAA"])
async def test_token_with_algorithm_none_is_rejected(name: str, signature: str) -> None:
    head, payload, _ = forge({"alg": name}).split(".")
    with pytest.raises(Unauthenticated):
        await make_verifier().verify(f"{head}.{payload}.{signature}")
    await assert_refused(make_verifier(), forge({"alg": name}), TokenFailure.ALGORITHM_REFUSED)


@pytest.mark.parametrize("header", [{}, {"alg": None}, {"alg": ["HS256"]}, {"alg": {}}, {"alg": 1}])
async def test_token_without_algorithm_is_rejected(header: dict[str, object]) -> None:
    await assert_refused(make_verifier(), forge(header), TokenFailure.ALGORITHM_REFUSED)


async def test_token_with_algorithm_not_configured_is_rejected() -> None:
    token = issuer.mint(CLAIMS, SECRET, "HS512")
    await assert_refused(make_verifier(), token, TokenFailure.ALGORITHM_REFUSED)


async def test_token_with_algorithm_without_key_is_rejected() -> None:
    key_set = serve_keys(public_jwk("RS256"))
    without_secret = make_verifier("HS256", "RS256", secret=None, key_set=key_set)
    await assert_refused(without_secret, mint(), TokenFailure.ALGORITHM_REFUSED)
    without_keys = make_verifier("HS256", "RS256")
    await assert_refused(without_keys, mint_asymmetric("RS256"), TokenFailure.ALGORITHM_REFUSED)


@pytest.mark.parametrize("kid", [{}, {"kid": "key-1"}])
async def test_token_keyed_with_the_public_key_is_rejected(kid: dict[str, object]) -> None:
    key = public_jwk("RS256")
    secrets = [
        public_pem("RS256"),
        public_pem("RS256").strip(),
        json.dumps(key),
        json.dumps({"keys": [key]}),
        str(key["n"]),
        "",
    ]
    only_rsa = make_verifier("RS256", secret=None, key_set=serve_keys(key))
    both = make_verifier("RS256", "HS256", key_set=serve_keys(key))
    for secret in secrets:
        token = forge({"alg": "HS256", **kid}, secret=secret.encode())
        await assert_refused(only_rsa, token, TokenFailure.ALGORITHM_REFUSED)
        await assert_refused(both, token, TokenFailure.SIGNATURE_INVALID)
        relabelled = forge({"alg": "RS256", **kid}, secret=secret.encode())
        await assert_refused(both, relabelled, TokenFailure.SIGNATURE_INVALID)


async def test_token_naming_a_symmetric_key_of_the_set_is_rejected() -> None:
    key = {"kty": "oct", "kid": "key-1", "k": encode(b"known to all").decode()}
    verifier = make_verifier("HS256", "RS256", key_set=serve_keys(key, OTHER_KEY))
    for algorithm, failure in [
        ("HS256", TokenFailure.SIGNATURE_INVALID),
        ("RS256", TokenFailure.KEY_UNKNOWN),
    ]:
        token = forge({"alg": algorithm, "kid": "key-1"}, secret=b"known to all")
        await assert_refused(verifier, token, failure)


async def test_token_bringing_its_own_key_is_rejected() -> None:
    token = mint_asymmetric("ES256", name="forger")
    payload = token.split(".")[1]
    header = {"alg": "ES256", "kid": "key-1", "jwk": public_jwk("ES256", name="forger")}
    verifier = make_verifier("ES256", key_set=serve_keys(public_jwk("ES256")))
    forged = f"{encode(json.dumps(header).encode()).decode()}.{payload}.{token.split('.')[2]}"
    await assert_refused(verifier, token, TokenFailure.SIGNATURE_INVALID)
    await assert_refused(verifier, forged, TokenFailure.SIGNATURE_INVALID)


@pytest.mark.parametrize("crit", [["b64"], ["exp"], [], None, "b64"])
async def test_token_with_critical_header_is_rejected(crit: object) -> None:
    token = forge({"alg": "HS256", "crit": crit, "b64": False})
    await assert_refused(make_verifier(), token, TokenFailure.CRITICAL_HEADER)


# The key must fit


@pytest.mark.parametrize(
    "members",
    [
        {"alg": "ES384"},
        {"alg": 7},
        {"use": "enc"},
        {"use": ["sig"]},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"key_ops": 1},
        {"crv": "P-384"},
        {"crv": None},
        {"x": None},
        {"x": 1},
        {"y": "A" * 43},
        {"y": ""},
        {"x": "é"},
    ],
)
async def test_token_with_an_unfit_key_is_rejected(members: dict[str, object]) -> None:
    key_set = serve_keys(public_jwk("ES256") | members, OTHER_KEY)
    verifier = make_verifier("ES256", key_set=key_set)
    await assert_refused(verifier, mint_asymmetric("ES256"), TokenFailure.KEY_UNFIT)


@pytest.mark.parametrize("members", [{"n": None}, {"e": {}}, {"n": "AA"}, {"n": "!"}, {"e": "Ag"}])
async def test_token_with_a_broken_rsa_key_is_rejected(members: dict[str, object]) -> None:
    verifier = make_verifier("RS256", key_set=serve_keys(public_jwk("RS256") | members, OTHER_KEY))
    with pytest.raises(Unauthenticated):
        await verifier.verify(mint_asymmetric("RS256"))


async def test_token_of_one_curve_with_key_of_another_is_rejected() -> None:
    # jose itself verifies ES256 with a P-384 key
    key_set = serve_keys(public_jwk("ES384", alg=None))
    token = issuer.mint(CLAIMS, private_pem("ES384"), "ES256")
    await assert_refused(make_verifier("ES256", key_set=key_set), token, TokenFailure.KEY_UNFIT)


@pytest.mark.parametrize(("signed", "served"), [("RS256", "ES256"), ("ES256", "RS256")])
async def test_token_with_a_key_of_another_type_is_rejected(signed: str, served: str) -> None:
    verifier = make_verifier("RS256", "ES256", key_set=serve_keys(public_jwk(served)))
    await assert_refused(verifier, mint_asymmetric(signed), TokenFailure.KEY_UNKNOWN)


@pytest.mark.parametrize("kid", [1, [], {}, True, "other", ""])
async def test_token_with_kid_not_in_the_set_is_rejected(kid: object) -> None:
    verifier = make_verifier("ES256", key_set=serve_keys(public_jwk("ES256")))
    await assert_refused(verifier, forge({"alg": "ES256", "kid": kid}), TokenFailure.KEY_UNKNOWN)


@pytest.mark.parametrize("kid", [1, True, ["key-1"], {"a": 1}])
async def test_token_with_kid_that_is_no_text_is_rejected(kid: object) -> None:
    key_set = serve_keys(public_jwk("ES256"), {**public_jwk("ES256"), "kid": kid})
    verifier = make_verifier("ES256", key_set=key_set)
    await assert_refused(verifier, forge({"alg": "ES256", "kid": kid}), TokenFailure.KEY_UNKNOWN)


async def test_token_signed_after_a_key_rotation_is_accepted_once_refreshed() -> None:
    server = KeyServer([public_jwk("ES256", "old", "old")])
    verifier = make_verifier("ES256", key_set=server.connect())
    await assert_accepted(verifier, mint_asymmetric("ES256", kid="old", name="old"))
    server.keys = [public_jwk("ES256", "new", "new")]
    rotated = mint_asymmetric("ES256", kid="new", name="new")
    await assert_refused(verifier, rotated, TokenFailure.KEY_UNKNOWN)  # fetched just now
    server.clock.advance(30)
    await assert_accepted(verifier, rotated)
    retired = mint_asymmetric("ES256", kid="old", name="old")
    await assert_refused(verifier, retired, TokenFailure.KEY_UNKNOWN)
    assert len(server.requests) == 2


async def test_token_through_an_outage_of_the_issuer_is_accepted() -> None:
    server = KeyServer([public_jwk("ES256")])
    verifier = make_verifier("ES256", key_set=server.connect())
    await assert_accepted(verifier, mint_asymmetric("ES256"))
    server.answer = lambda _: httpx.Response(503)
    server.clock.advance(3600)
    await assert_accepted(verifier, mint_asymmetric("ES256"))


# Claims


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"exp": NOW}, None),
        ({"exp": NOW - 29}, None),
        ({"exp": NOW - 29.9}, None),
        ({"exp": NOW - 30}, TokenFailure.EXPIRED),
        ({"exp": 0}, TokenFailure.EXPIRED),
        ({"exp": -(10**300)}, TokenFailure.EXPIRED),
        ({"nbf": NOW + 30}, None),
        ({"nbf": NOW + 31}, TokenFailure.NOT_YET_VALID),
        ({"iat": NOW + 30}, None),
        ({"iat": NOW + 31}, TokenFailure.NOT_YET_VALID),
        ({"exp": 10**400}, TokenFailure.CLAIMS_MALFORMED),
    ],
)
async def test_token_times_have_a_leeway_of_30_seconds(
    changes: dict[str, Any], failure: TokenFailure | None
) -> None:
    if failure is None:
        await assert_accepted(make_verifier(), mint(**changes))
    else:
        await assert_refused(make_verifier(), mint(**changes), failure)


async def test_token_without_expiry_is_rejected() -> None:
    await assert_refused(make_verifier(), mint({"sub": "x"}), TokenFailure.EXPIRY_MISSING)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", [None, "", str(NOW), True, [NOW], {}, float("nan"), float("inf"), float("-inf")]
)
async def test_token_with_malformed_times_is_rejected(name: str, value: object) -> None:
    token = mint({**CLAIMS, name: value})
    await assert_refused(make_verifier(), token, TokenFailure.CLAIMS_MALFORMED)


@pytest.mark.parametrize("issuer", [None, "", "https://issuer.test/", ["https://issuer.test"]])
async def test_token_of_another_issuer_is_rejected(issuer: object) -> None:
    verifier = make_verifier(issuer="https://issuer.test")
    await assert_accepted(verifier, mint(iss="https://issuer.test"))
    await assert_refused(verifier, mint(iss=issuer), TokenFailure.ISSUER_REFUSED)
    await assert_refused(verifier, mint(), TokenFailure.ISSUER_REFUSED)


@pytest.mark.parametrize(
    "audience", [None, "", "relays", "a relay", [], ["x"], [None], {"relay": 1}]
)
async def test_token_for_another_audience_is_rejected(audience: object) -> None:
    verifier = make_verifier(audience="relay")
    await assert_accepted(verifier, mint(aud="relay"))
    await assert_accepted(verifier, mint(aud=["x", "relay"]))
    await assert_refused(verifier, mint(aud=audience), TokenFailure.AUDIENCE_REFUSED)
    await assert_refused(verifier, mint(), TokenFailure.AUDIENCE_REFUSED)


@pytest.mark.parametrize("subject", [1, [], {}, True])
async def test_token_with_a_malformed_subject_is_rejected(subject: object) -> None:
    await assert_refused(make_verifier(), mint(sub=subject), TokenFailure.CLAIMS_MALFORMED)


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "events:read replay:write"}, {"events:read", "replay:write"}),
        ({"scp": "events:read replay:write"}, {"events:read", "replay:write"}),
        ({"scp": ["events:read", "replay:write"]}, {"events:read", "replay:write"}),
        ({"scope": "events:read", "scp": ["replay:write"]}, {"events:read", "replay:write"}),
        ({"scp": [None, 1, {}, ["events:read"], "x"]}, {"x"}),
        ({"scp": ["events:read replay:write"]}, {"events:read replay:write"}),
        ({"scope": ["events:read"]}, set()),
        ({"scope": 1, "scp": {"events:read": True}}, set()),
        ({"scope": "", "scp": []}, set()),
        ({"scope": "EVENTS:READ events:rea"}, {"EVENTS:READ", "events:rea"}),
    ],
)
async def test_token_scopes_are_read_from_both_claims(
    claims: dict[str, object], scopes: set[str]
) -> None:
    found = await make_verifier().verify(mint({"exp": NOW + 60, **claims}))
    assert found.scopes == scopes


@pytest.mark.parametrize("digest", [None, 1, "", "ab", "zz" * 32, "ab" * 33, "é" * 64, ["ab" * 32]])
async def test_token_with_a_malformed_body_digest_has_none(digest: object) -> None:
    claims = await make_verifier().verify(mint(request_body_sha256=digest))
    assert claims.request_body_sha256 is None


async def test_token_for_a_body_carries_its_digest() -> None:
    digest = hashlib.sha256(b"body").hexdigest()
    claims = await make_verifier().verify(mint(request_body_sha256=digest))
    assert claims.request_body_sha256 == digest


def test_claims_without_the_scope_raise() -> None:
    claims = Claims(
        subject=None,
        scopes=frozenset({"events:read"}),
        expires_at=NOW,
        request_body_sha256=None,
        webhook_id=None,
    )
    claims.require(Scope.EVENTS_READ)
    for scope in (Scope.REPLAY_WRITE, Scope.WEBHOOKS_WRITE):
        with pytest.raises(ScopeMissing, match=scope):
            claims.require(scope)


# Garbage


async def test_token_over_the_limit_is_rejected() -> None:
    token = mint(padding="x" * 8192)
    await assert_refused(make_verifier(), token, TokenFailure.TOO_LONG)
    await assert_refused(make_verifier(), "x" * 8193, TokenFailure.TOO_LONG)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c.d",
        "a.b.c.d.e",
        "a.b.c",
        "\ud800.b.c",
        "\u0661.b.c",
        "AAAA.AAAA.AAAA",
        encode(b"[" * 6000).decode() + ".e30.e30",
        encode(b"[]").decode() + ".e30.e30",
        encode(b"null").decode() + ".e30.e30",
        encode(b'{"alg": "\xff"}').decode() + ".e30.e30",
        "e30.e30.e30\n",
    ],
)
async def test_token_malformed_is_rejected(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await make_verifier().verify(token)


@pytest.mark.parametrize("tail", ["=", "\n", " ", "!", "é", ".", ".AAAA"])
async def test_token_with_anything_after_it_is_rejected(tail: str) -> None:
    # jose itself skips what is not base64url
    await assert_refused(make_verifier(), mint() + tail, TokenFailure.MALFORMED)


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"1", b"{", b"\xff", b"[" * 5000])
async def test_token_signed_but_of_no_claims_is_rejected(payload: bytes) -> None:
    head, _, signature = forge({"alg": "HS256"}, payload).split(".")
    with pytest.raises(Unauthenticated):
        await make_verifier().verify(forge({"alg": "HS256"}, payload))
    with pytest.raises(Unauthenticated):
        await make_verifier().verify(f"{head}..{signature}")


base64url = st.text("ABCXYZabcxyz0189-_", max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(deadline=None)  # a busy machine is no defect
@given(
    token=st.text(max_size=200)
    | st.lists(base64url, min_size=2, max_size=5).map(".".join)
    | st.binary(max_size=100).map(lambda raw: forge(raw))
)
@example(token=mint()[:-1] + "é")
async def test_token_of_garbage_is_rejected_without_any_other_error(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await make_verifier("HS256", "RS256", key_set=serve_keys()).verify(token)


@settings(deadline=None)  # a busy machine is no defect
@given(
    header=st.fixed_dictionaries(
        {"alg": st.sampled_from(["HS256", "RS256", "ES256", "none", "HS512"]) | documents},
        optional={"kid": documents, "crit": documents, "typ": documents, "jwk": documents},
    )
)
async def test_token_of_any_header_with_a_wrong_signature_is_rejected(
    header: dict[str, object],
) -> None:
    key_set = serve_keys(public_jwk("RS256"), public_jwk("ES256"))
    verifier = make_verifier("HS256", "RS256", "ES256", key_set=key_set)
    with pytest.raises(Unauthenticated):
        await verifier.verify(forge(header, secret=b"guessed"))


@settings(deadline=None)  # a busy machine is no defect
@given(
    claims=st.fixed_dictionaries(
        {"exp": st.just(NOW + 60) | documents},
        optional=dict.fromkeys(
            ("nbf", "iat", "iss", "aud", "sub", "scope", "scp", "request_body_sha256"), documents
        ),
    )
)
async def test_token_of_any_claims_is_answered_without_any_other_error(
    claims: dict[str, object],
) -> None:
    choices: list[dict[str, Any]] = [{}, {"issuer": "issuer"}, {"audience": "audience"}]
    for options in choices:
        try:
            found = await make_verifier(**options).verify(mint(claims))
        except Unauthenticated:
            continue
        assert all(isinstance(scope, str) for scope in found.scopes)


@settings(deadline=None)  # a busy machine is no defect
@given(key=st.dictionaries(st.sampled_from(["alg", "use", "key_ops", "crv", "n", "e"]), documents))
async def test_token_with_any_key_in_the_set_is_rejected_without_any_other_error(
    key: dict[str, object],
) -> None:
    server = KeyServer([])
    body = json.dumps({"keys": [{"kty": "RSA", "kid": "key-1", **key}, OTHER_KEY]})
    server.answer = lambda _: httpx.Response(200, content=body.encode())
    with pytest.raises(Unauthenticated):
        await make_verifier("RS256", key_set=server.connect()).verify(
            forge({"alg": "RS256", "kid": "key-1"})
        )


async def test_token_with_any_character_changed_is_rejected() -> None:
    token = mint()
    for position in range(len(token) - 1):  # the last holds two bits that say nothing
        changed = "A" if token[position] != "A" else "B"
        with pytest.raises(Unauthenticated):
            await make_verifier().verify(token[:position] + changed + token[position + 1 :])


# Configuration


@pytest.mark.parametrize("algorithm", ["EdDSA", "PS256", "none", "dir", "hs256", "A128KW", ""])
def test_verifier_with_an_unsupported_algorithm_names_the_setting(algorithm: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="JWT_ALGORITHMS"):
        make_verifier("HS256", algorithm)


@pytest.mark.parametrize("algorithms", [[], ["RS256"], ["ES256", "RS512"]])
def test_verifier_without_any_key_names_the_settings(algorithms: list[str]) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"JWT_SECRET.*JWT_JWKS_URL"):
        make_verifier(algorithms=algorithms)


def test_verifier_given_an_empty_secret_names_the_setting() -> None:
    with pytest.raises(ConfigurationInvalid, match="JWT_SECRET is empty"):
        make_verifier(secret="")


def test_verifier_given_a_public_key_for_a_secret_names_the_setting_and_not_the_key() -> None:
    pem = public_pem("RS256")
    with pytest.raises(ConfigurationInvalid, match="JWT_SECRET") as caught:
        make_verifier(secret=pem)
    assert pem not in str(caught.value)


@pytest.mark.parametrize("secret", [private_pem("RS256"), public_pem("RS256"), ""])
def test_mint_token_with_an_unfit_key_raises(secret: str) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        mint_token(CLAIMS, secret=secret)
    assert not secret or secret not in str(caught.value)


def test_mint_token_leaves_the_claims_as_they_are() -> None:
    claims = dict(CLAIMS)
    mint_token(claims, secret=SECRET)
    assert claims == CLAIMS
