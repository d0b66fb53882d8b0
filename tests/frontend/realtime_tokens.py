"""Verifies the token of a client as Realtime does, with the texts of its refusals."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from typing import Any


class TokenRefused(Exception):
    """A token was refused.

    Attributes:
        code: the word before the text, where Realtime refuses a join.
        text: as in Realtime's published source.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


def read_claims(token: str, secret: str, now: float) -> dict[str, Any]:
    """Return the claims of an HS256 token.

    Raises:
        TokenRefused: it is malformed, expired, signed with another secret or lacks a claim.
    """
    try:
        header, body, signature = token.split(".")
        claims = json.loads(_decode(body))
        digest = hmac.digest(secret.encode(), f"{header}.{body}".encode(), hashlib.sha256)
        is_signed = hmac.compare_digest(digest, _decode(signature))
    except (ValueError, NotBase64):
        raise TokenRefused("MalformedJWT", "The token provided is not a valid JWT") from None
    if not is_signed:
        raise TokenRefused("JwtSignatureError", "Failed to validate JWT signature")
    if not claims.get("role") or not claims.get("exp"):
        raise TokenRefused("InvalidJWTToken", "Fields `role` and `exp` are required in JWT")
    if (age := int(now) - claims["exp"]) >= 0:
        raise TokenRefused("InvalidJWTToken", f"Token has expired {age} seconds ago")
    return dict(claims)


def _decode(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))
