"""An issuer of tokens for tests: its private keys, its key set and a server to fetch it from."""

import base64
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jose import jws

from app.auth.jwks import KeySet

KEY_SET_URL = "https://issuer.test/.well-known/jwks.json"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@functools.cache
def make_private_key(algorithm: str, name: str = "first") -> PrivateKey:
    """Make a private key once per run and name; RSA takes a tenth of a second."""
    del name  # only tells the cached keys apart
    curves: dict[str, ec.EllipticCurve] = {
        "ES256": ec.SECP256R1(),
        "ES384": ec.SECP384R1(),
        "ES512": ec.SECP521R1(),
    }
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(algorithm: str, name: str = "first") -> str:
    key = make_private_key(algorithm, name)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(algorithm: str, name: str = "first") -> str:
    key = make_private_key(algorithm, name).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def mint(
    claims: Mapping[str, object], secret: str, algorithm: str, key_id: str | None = "key-1"
) -> str:
    """Make a token as an issuer does: with a shared secret or a private key in PEM."""
    headers = None if key_id is None else {"kid": key_id}
    return jws.sign(claims, secret, headers=headers, algorithm=algorithm)


def public_jwk(
    algorithm: str, kid: str | None = "key-1", name: str = "first", **members: object
) -> dict[str, object]:
    """Make the public JWK of a key; a member given as `None` is left out."""
    public_key = make_private_key(algorithm, name).public_key()
    key: dict[str, object] = {"alg": algorithm, "kid": kid, "use": "sig"}
    if isinstance(public_key, rsa.RSAPublicKey):
        rsa_numbers = public_key.public_numbers()
        key |= {"kty": "RSA", "n": _encode(rsa_numbers.n, 256), "e": _encode(rsa_numbers.e, 3)}
    else:
        ec_numbers = public_key.public_numbers()
        size = (public_key.key_size + 7) // 8
        x, y = _encode(ec_numbers.x, size), _encode(ec_numbers.y, size)
        key |= {"kty": "EC", "crv": f"P-{public_key.key_size}", "x": x, "y": y}
    key |= members
    return {name: value for name, value in key.items() if value is not None}


def _encode(number: int, size: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


@dataclass
class Clock:
    """A clock that moves when told to."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class KeyServer:
    """Serves a key set; `answer` may be replaced by any other answer."""

    keys: list[dict[str, object]] = field(default_factory=list)
    answer: Callable[[httpx.Request], httpx.Response] | None = None
    requests: list[httpx.Request] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.answer is not None:
            return self.answer(request)
        return httpx.Response(200, json={"keys": self.keys})

    def connect(self, **client_options: Any) -> KeySet:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self), **client_options)
        return KeySet(KEY_SET_URL, client, clock=self.clock)


def serve_keys(*keys: Mapping[str, object]) -> KeySet:
    return KeyServer([dict(key) for key in keys]).connect()
