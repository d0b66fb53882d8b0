"""The target of the token reader: it raises Unauthenticated alone, and accepts no forgery.

An input of one part is a token's text. One of three is header, payload and signature before their
encoding, where an empty signature stands for the right one by the shared secret: else a search
would never get as far as the claims.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from typing import Any, Final

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from app.auth.claims import Claims
from app.auth.jwks import KeySet
from app.auth.tokens import TokenVerifier, mint_token
from app.domain.errors import Unauthenticated
from tests.auth.issuer import mint
from tests.fuzz.harness import join, split

NOW: Final = 1_767_323_045
ISSUER: Final = "https://issuer.test"
AUDIENCE: Final = "relay"
SECRET: Final = "the secret of the tokens of these tests"
_LEEWAY_SECONDS: Final = 30

# Of a fixed number, so that every run has the same key.
_PRIVATE_KEY: Final = ec.derive_private_key(0x5EED, ec.SECP256R1())
_NUMBERS: Final = _PRIVATE_KEY.public_key().public_numbers()
_LOOP: Final = asyncio.new_event_loop()


def _encode(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


_PUBLIC_JWK: Final = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "key-1",
    "use": "sig",
    "x": _encode(_NUMBERS.x.to_bytes(32, "big")).decode(),
    "y": _encode(_NUMBERS.y.to_bytes(32, "big")).decode(),
}


def _answer(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"keys": [_PUBLIC_JWK, {"kty": "RSA", "n": "", "e": []}]})


VERIFIER: Final = TokenVerifier(
    algorithms=["HS256", "ES256", "RS256"],
    secret=SECRET,
    key_set=KeySet(
        "https://issuer.test/keys",
        httpx.AsyncClient(transport=httpx.MockTransport(_answer)),
        clock=lambda: 1.0,
    ),
    issuer=ISSUER,
    audience=AUDIENCE,
    clock=lambda: NOW,
)


def check(data: bytes, verifier: TokenVerifier = VERIFIER) -> bool:
    """Hold the reader to what was signed, and to RFC 7519 read anew."""
    token = _write_token(data)
    try:
        claims = _LOOP.run_until_complete(verifier.verify(token))
    except Unauthenticated:
        return False
    _check_accepted(token, claims)
    return True


def _write_token(data: bytes) -> str:
    header, payload, signature = split(data, 3)
    if header is None or payload is None or signature is None:
        # Bytes that are no UTF-8 become lone surrogates: a text can hold those too.
        return data.decode(errors="surrogateescape")
    signed = _encode(header) + b"." + _encode(payload)
    return (signed + b"." + _encode(signature or _sign(signed))).decode()


def _sign(signed: bytes) -> bytes:
    return hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()


def _check_accepted(token: str, claims: Claims) -> None:
    signed, _, signature = token.rpartition(".")
    is_shared = _decode(signature) == _sign(signed.encode())
    # An ES256 signature has a second spelling; its content has none.
    assert is_shared or signed == _SIGNED_BY_KEY
    header = json.loads(_decode(signed.partition(".")[0]))
    assert header["alg"] == ("HS256" if is_shared else "ES256")
    assert "crit" not in header
    said: dict[str, Any] = json.loads(_decode(signed.partition(".")[2]))
    assert _read_number(said["exp"]) > NOW - _LEEWAY_SECONDS
    for name in ("nbf", "iat"):
        assert name not in said or _read_number(said[name]) <= NOW + _LEEWAY_SECONDS
    assert said["iss"] == ISSUER
    audience = said["aud"]
    assert AUDIENCE in (audience if isinstance(audience, list) else [audience])
    assert claims.subject == said.get("sub")
    assert claims.subject is None or re.search(r"[\x00\ud800-\udfff]", claims.subject) is None
    listed = said.get("scp") if isinstance(said.get("scp"), list) else [said.get("scp")]
    texts = [text for text in [said.get("scope"), *(listed or [])] if isinstance(text, str)]
    assert claims.scopes <= set(texts) | set(" ".join(texts).split())
    assert claims.webhook_id == said.get("webhook_id")
    if claims.request_body_sha256 is not None:
        assert len(bytes.fromhex(claims.request_body_sha256)) == 32
        assert claims.request_body_sha256 == said["request_body_sha256"].lower()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


def _read_number(value: object) -> int | float:
    assert isinstance(value, int | float)
    assert not isinstance(value, bool)
    assert math.isfinite(value)
    return value


_CLAIMS: Final[dict[str, Any]] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "ops@nomadcrew.test",
    "exp": NOW + 60,
    "scope": "replay:write events:read",
}
_PEM: Final = _PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_BY_KEY: Final = mint(_CLAIMS, _PEM, "ES256")
_SIGNED_BY_KEY: Final = _BY_KEY.rpartition(".")[0]
_BY_SECRET: Final = mint_token(_CLAIMS, secret=SECRET).encode()
_HS256: Final = b'{"alg":"HS256","typ":"JWT"}'


def _make(header: bytes = _HS256, signature: bytes = b"", **claims: object) -> bytes:
    """Make a signed token's input; bytes are inserted unchanged, None is left out."""
    said = {name: value for name, value in (_CLAIMS | claims).items() if value is not None}
    members = (
        json.dumps(name).encode()
        + b":"
        + (value if isinstance(value, bytes) else json.dumps(value).encode())
        for name, value in said.items()
    )
    return join(header, b"{" + b",".join(members) + b"}", signature)


def _make_by_public_key(key: bytes) -> bytes:
    """Make a token that passes if the verifier uses its public key as an HMAC secret."""
    signed = _encode(_HS256) + b"." + _encode(json.dumps(_CLAIMS).encode())
    return signed + b"." + _encode(hmac.new(key, signed, hashlib.sha256).digest())


_HEADER, _, _REST = _BY_SECRET.partition(b".")
_PAYLOAD, _, _SIGNATURE = _REST.partition(b".")
_DEEP: Final = b"[" * 2000 + b"]" * 2000

ACCEPTED: Final = {
    "by the secret": _BY_SECRET,
    "by the key": _BY_KEY.encode(),
    "plain": _make(),
    "unknown header members": _make(b'{"alg":"HS256","kid":7,"b64":true,"x":[{}]}'),
    "embedded jwk ignored": _make(
        b'{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"},"jku":"https://evil.test/keys"}'
    ),
    "exp a float": _make(exp=b"1767323045.5"),
    "exp with exponent": _make(exp=b"1.8e9"),
    "exp far": _make(exp=b"9" * 300),
    "exp within leeway": _make(exp=NOW - 29),
    "nbf within leeway": _make(nbf=NOW + 30),
    "aud a list": _make(aud=["other", AUDIENCE]),
    "no sub": _make(sub=None),
    "sub beyond the plane": _make(sub="\U0001f600\u2028"),
    "scp a list": _make(scope=None, scp=["replay:write", 7, None, ["events:read"], ""]),
    "scope a list": _make(scope=["replay:write"]),
    "body digest": _make(request_body_sha256="AB" * 32),
    "body digest a number": _make(request_body_sha256=7),
    "body digest in Arabic digits": _make(request_body_sha256="\u0660" * 64),
    "webhook id": _make(webhook_id="evt_1"),
    "webhook id of any text": _make(webhook_id="\x00\ud800\u202e, ,"),
    "webhook id empty": _make(webhook_id=""),
    "claims nested": _make(more=b"[" * 200 + b"]" * 200),
    "exp twice": _make(exp=b'1,"exp":1767323105'),
}

REFUSED: Final = {
    "nothing": b"",
    "dots": b"..",
    "one part": _HEADER,
    "two parts": _HEADER + b"." + _PAYLOAD,
    "four parts": _BY_SECRET + b"." + _SIGNATURE,
    "no signature": _HEADER + b"." + _PAYLOAD + b".",
    "padding": _HEADER + b"." + _PAYLOAD + b"." + _SIGNATURE + b"=",
    "line end": _BY_SECRET + b"\n",
    "NUL": _BY_SECRET + b"\x00",
    "surrogates": b"\xed\xa0\x80." + _PAYLOAD + b"." + _SIGNATURE,
    "not UTF-8": b"\xff\xfe.\xff.\xff",
    "full-width letters": "\uff45yJ.\uff45yJ.\uff45yJ".encode(),
    "standard base64": _HEADER + b"." + _PAYLOAD + b"." + b"+/" * 21 + b"A",
    "signature of zeros": _HEADER + b"." + _PAYLOAD + b"." + b"A" * 43,
    "signature truncated": _BY_SECRET[:-8],
    "payload changed": _HEADER + b"." + _PAYLOAD[:-4] + b"AAAA." + _SIGNATURE,
    "too long": b"a" * 9000 + b".b.c",
    "alg none": _make(b'{"alg":"none"}'),
    "alg none unsigned": _encode(b'{"alg":"none"}') + b"." + _PAYLOAD + b".",
    "alg nOnE": _make(b'{"alg":"nOnE"}'),
    "alg missing": _make(b"{}"),
    "alg null": _make(b'{"alg":null}'),
    "alg a list": _make(b'{"alg":["HS256"]}'),
    "alg an object": _make(b'{"alg":{"HS256":1}}'),
    "alg in small letters": _make(b'{"alg":"hs256"}'),
    "alg with NUL": _make(b'{"alg":"HS256\\u0000"}'),
    "alg a surrogate": _make(b'{"alg":"\\ud800"}'),
    "alg HS384": _make(b'{"alg":"HS384"}'),
    "alg EdDSA": _make(b'{"alg":"EdDSA"}'),
    "alg RSA1_5": _make(b'{"alg":"RSA1_5"}'),
    "alg ES256 by the secret": _make(b'{"alg":"ES256","kid":"key-1"}'),
    "alg RS256 of a broken key": _make(b'{"alg":"RS256"}'),
    "alg HS256 by the public key": _make_by_public_key(json.dumps(_PUBLIC_JWK).encode()),
    "alg HS256 by nothing": _make_by_public_key(b""),
    "ES256 of zeros": _make(b'{"alg":"ES256","kid":"key-1"}', bytes(64)),
    "ES256 too short": _make(b'{"alg":"ES256","kid":"key-1"}', b"\x30"),
    "ES256 embedded jwk": _make(
        b'{"alg":"ES256","kid":"mine","jwk":' + json.dumps(_PUBLIC_JWK).encode() + b"}"
    ),
    "kid unknown": _make(b'{"alg":"ES256","kid":"../../dev/null"}'),
    "kid a number": _make(b'{"alg":"ES256","kid":1e999}'),
    "kid an object": _make(b'{"alg":"ES256","kid":{}}'),
    "jku": _make(b'{"alg":"RS256","jku":"https://evil.test/keys","kid":"x"}'),
    "x5u": _make(b'{"alg":"RS256","x5u":"https://evil.test/c","x5c":["AAAA"]}'),
    "crit": _make(b'{"alg":"HS256","crit":["exp"]}'),
    "crit empty": _make(b'{"alg":"HS256","crit":[]}'),
    "crit null": _make(b'{"alg":"HS256","crit":null}'),
    "header a list": _make(b'["alg","HS256"]'),
    "header a number": _make(b"1"),
    "header empty": _make(b""),
    "header with BOM": _make(b"\xef\xbb\xbf" + _HS256 + b"x"),
    "header deep": _make(b'{"alg":"HS256","x":' + _DEEP + b"}" + b"]"),
    "header not UTF-8": _make(b'{"alg":"HS256\xff"}'),
    "payload empty": join(_HS256, b"", b""),
    "payload null": join(_HS256, b"null", b""),
    "payload a list": join(_HS256, b"[]", b""),
    "payload a text": join(_HS256, b'"exp"', b""),
    "payload NaN": join(_HS256, b"NaN", b""),
    "payload not UTF-8": join(_HS256, b"\xff\xfe", b""),
    "payload deep": join(_HS256, _DEEP, b""),
    "payload a huge number": join(_HS256, b"9" * 5000, b""),
    "webhook id a number": _make(webhook_id=7),
    "webhook id null": _make(webhook_id=b"null"),
    "webhook id a list": _make(webhook_id=["evt_1"]),
    "exp missing": _make(exp=None),
    "exp null": _make(exp=b"null"),
    "exp a text": _make(exp=str(NOW + 60)),
    "exp true": _make(exp=True),
    "exp a list": _make(exp=[NOW + 60]),
    "exp NaN": _make(exp=b"NaN"),
    "exp Infinity": _make(exp=b"Infinity"),
    "exp overflowing": _make(exp=b"1e999"),
    "exp huge": _make(exp=b"9" * 400),
    "exp past": _make(exp=NOW - 30),
    "exp negative": _make(exp=-1),
    "exp minus zero": _make(exp=b"-0.0"),
    "exp of before, twice": _make(exp=b'1767323105,"exp":1'),
    "nbf ahead": _make(nbf=NOW + 31),
    "nbf true": _make(nbf=True),
    "iat false": _make(iat=False),
    "nbf NaN": _make(nbf=b"NaN"),
    "nbf null": _make(nbf=b"null"),
    "iat ahead": _make(iat=NOW + 3600),
    "iat a text": _make(iat="now"),
    "iss missing": _make(iss=None),
    "iss a list": _make(iss=[ISSUER]),
    "iss with slash": _make(iss=ISSUER + "/"),
    "aud missing": _make(aud=None),
    "aud a piece": _make(aud="relay2"),
    "aud nested": _make(aud=[[AUDIENCE]]),
    "aud an object": _make(aud={AUDIENCE: 1}),
    "sub a number": _make(sub=7),
    "sub with NUL": _make(sub="a\x00b"),
    "sub a surrogate": _make(sub=b'"\\ud800"'),
    "exp in another case": _make(exp=None, EXP=NOW + 60),
}
