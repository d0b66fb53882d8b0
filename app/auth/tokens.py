"""Verifies bearer tokens and makes them: JSON Web Tokens (RFC 7519), by python-jose.

This is the only file that names `jose`. It is asked for signatures alone; the claims are checked
here, because jose takes a token without `aud` where one is demanded, reads the wall clock, runs
int() over whatever stands in `exp`, and knows no `crit`.
"""

import json
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jose import jwk, jws
from jose.backends.base import Key
from jose.exceptions import JOSEError
from typing_extensions import TypeIs

from app.auth.jwks import PUBLIC_MEMBERS, KeySet
from app.domain.errors import ConfigurationInvalid, ScopeMissing, Unauthenticated

_SYMMETRIC_ALGORITHMS: Final = frozenset({"HS256", "HS384", "HS512"})
_KEY_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
}
_CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}

_TOKEN_LIMIT_BYTES: Final = 8 * 1024
_LEEWAY_SECONDS: Final = 30.0
# Three parts of unpadded base64url: jose skips characters that are none, and takes more parts.
_COMPACT_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SHA256_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")


class Scope(StrEnum):
    """What a token may allow."""

    WEBHOOKS_WRITE = "webhooks:write"
    EVENTS_READ = "events:read"
    REPLAY_WRITE = "replay:write"


class TokenFailure(StrEnum):
    """Why a token is refused: the `reason` of `Unauthenticated`, for the log only."""

    TOO_LONG = "token-too-long"
    MALFORMED = "token-malformed"
    ALGORITHM_REFUSED = "token-algorithm-refused"
    CRITICAL_HEADER = "token-critical-header"
    KEY_UNKNOWN = "token-key-unknown"
    KEY_UNFIT = "token-key-unfit"
    SIGNATURE_INVALID = "token-signature-invalid"
    CLAIMS_MALFORMED = "token-claims-malformed"
    EXPIRY_MISSING = "token-expiry-missing"
    EXPIRED = "token-expired"
    NOT_YET_VALID = "token-not-yet-valid"
    ISSUER_REFUSED = "token-issuer-refused"
    AUDIENCE_REFUSED = "token-audience-refused"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid token says.

    Attributes:
        subject: `sub`.
        scopes: all of `scope` and `scp`, those unknown here included.
        request_body_sha256: 64 lower-case hexadecimal digits; `None` where the claim is absent
            or not of that form.
        webhook_id: any text; `None` where the claim is absent.
    """

    subject: str | None
    scopes: frozenset[str]
    request_body_sha256: str | None
    webhook_id: str | None

    def require(self, scope: Scope) -> None:
        """Raise `ScopeMissing` unless the token carries `scope`."""
        if scope not in self.scopes:
            raise ScopeMissing(scope)


class TokenVerifier:
    """Tells what a bearer token allows.

    Args:
        algorithms: the only ones accepted; what a token's header asks for chooses among them.
        secret: for HS256, HS384, HS512, and for nothing else.
        key_set: for RS256 … ES512, and for nothing else.
        issuer: what `iss` must be; `None` accepts any.
        audience: what `aud` must be or contain; `None` accepts any.
        clock: seconds since the epoch.

    Raises:
        ConfigurationInvalid: an algorithm is not supported, the secret cannot be used, or none of
            the algorithms has a key.
    """

    def __init__(
        self,
        *,
        algorithms: Sequence[str],
        secret: str | None,
        key_set: KeySet | None,
        issuer: str | None,
        audience: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for algorithm in algorithms:
            if algorithm not in _SYMMETRIC_ALGORITHMS and algorithm not in _KEY_TYPES:
                supported = ", ".join(sorted([*_SYMMETRIC_ALGORITHMS, *_KEY_TYPES]))
                raise ConfigurationInvalid(
                    f"JWT_ALGORITHMS asks for {algorithm!r}, which is not supported here. "
                    f"Supported are {supported}."
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
                "No token could be verified: JWT_ALGORITHMS needs JWT_SECRET for HS256, HS384 and "
                "HS512, or JWT_JWKS_URL for RS256, ES256 and their like."
            )
        self._key_set = key_set
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Verify signature and claims, whatever text comes in.

        Raises:
            Unauthenticated: anything is wrong with the token.
        """
        if len(token) > _TOKEN_LIMIT_BYTES:
            raise Unauthenticated(TokenFailure.TOO_LONG)
        if _COMPACT_FORM.fullmatch(token) is None:
            raise Unauthenticated(TokenFailure.MALFORMED)
        header = _read_header(token)
        # RFC 7515 section 4.1.11: who does not understand every extension named must refuse.
        if "crit" in header:
            raise Unauthenticated(TokenFailure.CRITICAL_HEADER)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise Unauthenticated(TokenFailure.ALGORITHM_REFUSED)
        key = await self._find_key(header, algorithm)
        return self._read_claims(_read_payload(token, key, algorithm))

    async def _find_key(self, header: Mapping[str, object], algorithm: str) -> Key:
        secret_key = self._secret_keys.get(algorithm)
        if secret_key is not None:
            return secret_key
        kid = header.get("kid")
        if self._key_set is None or not (kid is None or isinstance(kid, str)):
            raise Unauthenticated(TokenFailure.KEY_UNKNOWN)
        found = await self._key_set.find_key(kid, _KEY_TYPES[algorithm])
        if found is None:
            raise Unauthenticated(TokenFailure.KEY_UNKNOWN)
        return _construct_public_key(found, algorithm)

    def _read_claims(self, claims: Mapping[str, object]) -> Claims:
        self._check_times(claims)
        if self._issuer is not None and claims.get("iss") != self._issuer:
            raise Unauthenticated(TokenFailure.ISSUER_REFUSED)
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if self._audience is not None and self._audience not in audiences:
            raise Unauthenticated(TokenFailure.AUDIENCE_REFUSED)
        subject = claims.get("sub")
        if not (subject is None or _is_storable(subject)):
            raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
        # A null too: its sender meant to bind the event, and would not.
        webhook_id = claims.get("webhook_id")
        if "webhook_id" in claims and not isinstance(webhook_id, str):
            raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
        digest = claims.get("request_body_sha256")
        is_digest = isinstance(digest, str) and _SHA256_HEX.fullmatch(digest) is not None
        return Claims(
            subject=subject,
            scopes=_read_scopes(claims),
            request_body_sha256=str(digest).lower() if is_digest else None,
            webhook_id=webhook_id if isinstance(webhook_id, str) else None,
        )

    def _check_times(self, claims: Mapping[str, object]) -> None:
        now = self._clock()
        expires_at = _read_seconds(claims, "exp")
        if expires_at is None:
            raise Unauthenticated(TokenFailure.EXPIRY_MISSING)
        if not now < expires_at + _LEEWAY_SECONDS:
            raise Unauthenticated(TokenFailure.EXPIRED)
        for name in ("nbf", "iat"):
            valid_from = _read_seconds(claims, name)
            if valid_from is not None and now < valid_from - _LEEWAY_SECONDS:
                raise Unauthenticated(TokenFailure.NOT_YET_VALID)


def mint_token(
    claims: Mapping[str, object],
    *,
    secret: str,
    algorithm: str = "HS256",
    key_id: str | None = None,
) -> str:
    """Make a token.

    Args:
        claims: what it says, as JSON types; `exp` in seconds since the epoch.
        secret: the shared secret for HS256 and its like, a private key in PEM for the others.
        algorithm: one of those that can be verified here.
        key_id: the header's `kid`.

    Raises:
        ConfigurationInvalid: `secret` is no key for `algorithm`, or that is not supported.
    """
    if algorithm not in _SYMMETRIC_ALGORITHMS and algorithm not in _KEY_TYPES:
        raise ConfigurationInvalid(f"Tokens cannot be signed with the algorithm {algorithm!r}.")
    headers = None if key_id is None else {"kid": key_id}
    is_symmetric = algorithm in _SYMMETRIC_ALGORITHMS
    key = _construct_secret_key(secret, algorithm) if is_symmetric else secret
    try:
        return jws.sign(claims, key, headers=headers, algorithm=algorithm)
    except JOSEError as error:
        raise ConfigurationInvalid(f"The key given cannot sign with {algorithm}.") from error


def _construct_secret_key(secret: str, algorithm: str) -> Key:
    if not secret:
        raise ConfigurationInvalid("JWT_SECRET is empty: anybody could sign with that.")
    try:
        # Constructed here, as given text jose would first try to read it as JSON.
        return jwk.construct(secret, algorithm)
    except JOSEError as error:
        raise ConfigurationInvalid(
            "JWT_SECRET is a key pair's key or a certificate. It must be a secret shared with "
            "the issuer; public keys are read from JWT_JWKS_URL."
        ) from error


def _construct_public_key(found: Mapping[str, object], algorithm: str) -> Key:
    """Make a key of a member of the key set, if it is meant for this use."""
    kty = _KEY_TYPES[algorithm]
    operations = found.get("key_ops", ["verify"])
    is_fit = (
        found.get("kty") == kty
        and found.get("alg", algorithm) == algorithm
        and found.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
        # jose verifies ES256 with a key of any curve
        and (kty != "EC" or found.get("crv") == _CURVES[algorithm])
    )
    if not is_fit:
        raise Unauthenticated(TokenFailure.KEY_UNFIT)
    # Public members alone: a set that holds private keys by mistake is used as if it did not.
    members = {name: found.get(name) for name in ("kty", *PUBLIC_MEMBERS[kty])}
    try:
        return jwk.construct(members, algorithm)
    except Exception as error:  # members of any type: jose and its backend raise all there is
        raise Unauthenticated(TokenFailure.KEY_UNFIT) from error


def _read_header(token: str) -> Mapping[str, object]:
    try:
        return jws.get_unverified_header(token)
    except Exception as error:  # jose lets through what json and base64 raise, RecursionError too
        raise Unauthenticated(TokenFailure.MALFORMED) from error


def _read_payload(token: str, key: Key, algorithm: str) -> Mapping[str, object]:
    try:
        payload = jws.verify(token, key, [algorithm])
    except Exception as error:  # the same, and whatever the cryptographic backend raises
        raise Unauthenticated(TokenFailure.SIGNATURE_INVALID) from error
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED) from error
    if not isinstance(claims, dict):
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    return claims


def _is_storable(value: object) -> TypeIs[str]:
    """Tell a text that can be noted for the audit: no NUL, no lone surrogate."""
    return isinstance(value, str) and re.search(r"[\x00\ud800-\udfff]", value) is None


def _read_seconds(claims: Mapping[str, object], name: str) -> float | None:
    """Read a NumericDate; `None` where it is absent."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    try:
        seconds = float(value)
    except OverflowError as error:
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED) from error
    if not math.isfinite(seconds):  # json reads NaN and Infinity
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    return seconds


def _read_scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """Gather `scope` (RFC 8693: text) and `scp` (text or list); what is no text is left out."""
    scopes: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            scopes.update(value.split())
    listed = claims.get("scp")
    if isinstance(listed, list):
        scopes.update(scope for scope in listed if isinstance(scope, str))
    return frozenset(scopes)
