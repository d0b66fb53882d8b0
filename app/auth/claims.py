"""The claims of bearer tokens (RFC 7519)."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.domain.errors import ScopeMissing, Unauthenticated

_LEEWAY_SECONDS: Final = 30.0
_SHA256_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")  # NUL and lone surrogates


class Scope(StrEnum):
    """A permission."""

    WEBHOOKS_WRITE = "webhooks:write"
    EVENTS_READ = "events:read"
    REPLAY_WRITE = "replay:write"


class TokenFailure(StrEnum):
    """Why a token is invalid, for the log only."""

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
    """The claims of a valid token.

    Attributes:
        subject: `sub`.
        expires_at: `exp`, in Unix seconds.
        scopes: all of `scope` and `scp`.
        request_body_sha256: lower-case hex; None if absent or malformed.
        webhook_id: None if absent.
    """

    subject: str | None
    scopes: frozenset[str]
    expires_at: float
    request_body_sha256: str | None
    webhook_id: str | None

    def is_expired(self, now: float) -> bool:
        """Whether the token is no longer accepted, at a time in Unix seconds."""
        return now >= self.expires_at + _LEEWAY_SECONDS

    def require(self, scope: Scope) -> None:
        """Raise `ScopeMissing` unless the token has the scope."""
        if scope not in self.scopes:
            raise ScopeMissing(scope)


def read_claims(
    claims: Mapping[str, object], *, issuer: str | None, audience: str | None, now: float
) -> Claims:
    """Check the claims of a token whose signature is valid; None accepts any issuer or audience.

    Raises:
        Unauthenticated: a claim is malformed, or the token is not valid here and now.
    """
    expires_at = _check_times(claims, now)
    if issuer is not None and claims.get("iss") != issuer:
        raise Unauthenticated(TokenFailure.ISSUER_REFUSED)
    given = claims.get("aud")
    audiences = given if isinstance(given, list) else [given]
    if audience is not None and audience not in audiences:
        raise Unauthenticated(TokenFailure.AUDIENCE_REFUSED)
    subject = claims.get("sub")
    # The audit of replays stores it.
    if isinstance(subject, str) and _UNSTORABLE.search(subject) is not None:
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    webhook_id = claims.get("webhook_id")
    # A null is malformed too: it would bind the token to no event.
    if "webhook_id" in claims and not isinstance(webhook_id, str):
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    if not isinstance(subject, str | None) or not isinstance(webhook_id, str | None):
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    digest = claims.get("request_body_sha256")
    is_digest = isinstance(digest, str) and _SHA256_HEX.fullmatch(digest) is not None
    return Claims(
        subject=subject,
        scopes=_read_scopes(claims),
        expires_at=expires_at,
        request_body_sha256=str(digest).lower() if is_digest else None,
        webhook_id=webhook_id,
    )


def _check_times(claims: Mapping[str, object], now: float) -> float:
    """Check that the token is valid now, and return when it expires."""
    expires_at = _read_seconds(claims, "exp")
    if expires_at is None:
        raise Unauthenticated(TokenFailure.EXPIRY_MISSING)
    if not now < expires_at + _LEEWAY_SECONDS:
        raise Unauthenticated(TokenFailure.EXPIRED)
    for name in ("nbf", "iat"):
        valid_from = _read_seconds(claims, name)
        if valid_from is not None and now < valid_from - _LEEWAY_SECONDS:
            raise Unauthenticated(TokenFailure.NOT_YET_VALID)
    return expires_at


def _read_seconds(claims: Mapping[str, object], name: str) -> float | None:
    """Read a NumericDate; None if absent."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    try:
        seconds = float(value)
    except OverflowError as error:
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED) from error
    if not math.isfinite(seconds):  # json reads NaN and Infinity.
        raise Unauthenticated(TokenFailure.CLAIMS_MALFORMED)
    return seconds


def _read_scopes(claims: Mapping[str, object]) -> frozenset[str]:
    """Collect `scope` (RFC 8693: a string) and `scp` (a string or a list)."""
    scopes: set[str] = set()
    for value in (claims.get("scope"), claims.get("scp")):
        if isinstance(value, str):
            scopes.update(value.split())
    listed = claims.get("scp")
    if isinstance(listed, list):
        scopes.update(scope for scope in listed if isinstance(scope, str))
    return frozenset(scopes)
