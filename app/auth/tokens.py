"""Verifies and makes bearer tokens: JSON Web Tokens (RFC 7519), with python-jose.

The only file that names jose. jose verifies signatures only; the claims are checked here, because
jose accepts a token without a required `aud`, reads the wall clock, applies int() to any `exp`, and
ignores `crit`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from jose import jwk, jws
from jose.backends.base import Key
from jose.exceptions import JOSEError

from app.auth.claims import Claims, TokenFailure, read_claims
from app.auth.jwks import PUBLIC_MEMBERS, KeySet
from app.domain.errors import ConfigurationInvalid, Unauthenticated

_SYMMETRIC_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})
_KEY_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
_ALGORITHMS: Final = _SYMMETRIC_ALGORITHMS | _KEY_TYPES.keys()
_CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

_TOKEN_LIMIT_BYTES: Final = 8 * 1024
# jose skips characters that are not base64url, and accepts more than three parts.
_COMPACT_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class TokenVerifier:
    """Verifies tokens.

    Raises:
        ConfigurationInvalid: an algorithm is not supported, the secret is unusable, or no algorithm
            has a key.
    """

    def __init__(
        self,
        *,
        algorithms: Sequence[str],
        secret: str | None,
        key_set: KeySet | None,
        issuer: str | None,
        audience: str | None,
        clock: Callable[[], float],
    ) -> None:
        for algorithm in algorithms:
            if algorithm not in _ALGORITHMS:
                raise ConfigurationInvalid(
                    f"JWT_ALGORITHMS contains {algorithm!r}, which is not supported. Supported are"
                    f" {', '.join(sorted(_ALGORITHMS))}."
                )
        self._secret_keys = {
            algorithm: _construct_secret_key(secret, algorithm)
            for algorithm in algorithms
            if secret is not None and algorithm in _SYMMETRIC_ALGORITHMS
        }
        self._algorithms = frozenset(self._secret_keys)
        if key_set is not None:
            self._algorithms |= _KEY_TYPES.keys() & set(algorithms)
        if not self._algorithms:
            raise ConfigurationInvalid(
                "JWT_ALGORITHMS has no key: HS256, HS384 and HS512 need JWT_SECRET, the others"
                " JWT_JWKS_URL."
            )
        self._key_set = key_set
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Verify the signature and the claims of any text.

        Raises:
            Unauthenticated: the token is invalid.
            KeySetUnavailable: its key is unknown and cannot be fetched.
        """
        if len(token) > _TOKEN_LIMIT_BYTES:
            raise Unauthenticated(TokenFailure.TOO_LONG)
        if _COMPACT_FORM.fullmatch(token) is None:
            raise Unauthenticated(TokenFailure.MALFORMED)
        header = _read_header(token)
        # RFC 7515, section 4.1.11: unknown extensions that are critical make a token invalid.
        if "crit" in header:
            raise Unauthenticated(TokenFailure.CRITICAL_HEADER)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Unauthenticated(TokenFailure.ALGORITHM_REFUSED)
        key = self._secret_keys.get(algorithm)
        if key is None:
            key = await self._find_public_key(header.get("kid"), algorithm)
        return read_claims(
            _read_payload(token, key, algorithm),
            issuer=self._issuer,
            audience=self._audience,
            now=self._clock(),
        )

    async def _find_public_key(self, kid: object, algorithm: str) -> Key:
        if self._key_set is None or not (kid is None or isinstance(kid, str)):
            raise Unauthenticated(TokenFailure.KEY_UNKNOWN)
        found = await self._key_set.find_key(kid, _KEY_TYPES[algorithm])
        if found is None:
            raise Unauthenticated(TokenFailure.KEY_UNKNOWN)
        return _construct_public_key(found, algorithm)


def mint_token(claims: Mapping[str, object], *, secret: str) -> str:
    """Make an HS256 token of claims in JSON types; `exp` is in Unix seconds.

    Raises:
        ConfigurationInvalid: the secret cannot sign.
    """
    return jws.sign(claims, _construct_secret_key(secret, "HS256"), algorithm="HS256")


def _construct_secret_key(secret: str, algorithm: str) -> Key:
    if not secret:
        raise ConfigurationInvalid("JWT_SECRET is empty. `relay secret --kind jwt` makes one.")
    try:
        # Not left to jose, which would first read a text as JSON.
        return jwk.construct(secret, algorithm)
    except JOSEError as error:
        raise ConfigurationInvalid(
            "JWT_SECRET is a certificate or a key of a key pair. It must be a secret shared with"
            " the issuer; public keys come from JWT_JWKS_URL."
        ) from error


def _construct_public_key(found: Mapping[str, object], algorithm: str) -> Key:
    """Make a key of a member of the key set, if it is meant for verifying."""
    kty = _KEY_TYPES[algorithm]
    operations = found.get("key_ops", ["verify"])
    is_fit = (
        found.get("kty") == kty
        and found.get("alg", algorithm) == algorithm
        and found.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        # jose accepts any curve.
        and (kty != "EC" or found.get("crv") == _CURVES[algorithm])
    )
    if not is_fit:
        raise Unauthenticated(TokenFailure.KEY_UNFIT)
    # Without the private members of a set that shows them by mistake.
    members = {name: found.get(name) for name in ("kty", *PUBLIC_MEMBERS[kty])}
    try:
        return jwk.construct(members, algorithm)
    except Exception as error:  # jose and its backend raise anything for members of other types
        raise Unauthenticated(TokenFailure.KEY_UNFIT) from error


def _read_header(token: str) -> Mapping[str, object]:
    try:
        return jws.get_unverified_header(token)
    except Exception as error:  # jose lets errors of json and base64 pass
        raise Unauthenticated(TokenFailure.MALFORMED) from error


def _read_payload(token: str, key: Key, algorithm: str) -> Mapping[str, object]:
    try:
        payload = jws.verify(token, key, [algorithm])
    except Exception as error:  # likewise, and errors of the cryptographic backend
        raise Unauthenticated(TokenFailure.SIGNATURE_INVALID) from error
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED) from error
    if not isinstance(claims, dict):
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    return claims
