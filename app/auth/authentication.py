"""Authenticates senders and authorizes operators."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from enum import StrEnum

from app.auth.claims import Claims, Scope
from app.auth.signatures import SignatureVerifier
from app.auth.tokens import TokenVerifier
from app.domain.errors import OperatorAccessNotConfigured, Unauthenticated


class WebhookAuth(StrEnum):
    """How a webhook is authenticated."""

    HMAC = "hmac"
    JWT = "jwt"
    ANY = "any"
    BOTH = "both"


class Authenticator:
    """Checks signatures and tokens."""

    def __init__(
        self,
        mode: WebhookAuth,
        *,
        signatures: SignatureVerifier | None,
        tokens: TokenVerifier | None,
        clock: Callable[[], float],
    ) -> None:
        self._mode = mode
        self._signatures = signatures
        self._tokens = tokens
        self._clock = clock

    async def authenticate_webhook(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        """Check that a webhook is authentic.

        Raises:
            Unauthenticated: the signature or token is missing, or invalid for this body or id.
            ScopeMissing: the token lacks the scope.
        """
        match self._mode:
            case WebhookAuth.HMAC:
                self._check_signature(headers, body)
            case WebhookAuth.JWT:
                await self._check_token(headers, body)
            case WebhookAuth.BOTH:
                self._check_signature(headers, body)
                await self._check_token(headers, body, is_signed=True)
            case WebhookAuth.ANY:
                try:
                    self._check_signature(headers, body)
                except Unauthenticated:
                    if b"authorization" not in headers:
                        raise
                    await self._check_token(headers, body)

    def has_valid_signature(self, headers: Mapping[bytes, bytes], body: bytes) -> bool:
        """Tell whether a valid signature authenticates the webhook; tokens are not checked."""
        if self._mode not in (WebhookAuth.HMAC, WebhookAuth.ANY):
            return False
        try:
            self._check_signature(headers, body)
        except Unauthenticated:
            return False
        return True

    def require_operator_access(self) -> None:
        """Raise `OperatorAccessNotConfigured` unless the settings have a key for tokens."""
        if self._tokens is None:
            raise OperatorAccessNotConfigured

    async def authorize_operator(self, authorization: bytes | None, scope: Scope) -> Claims:
        """Return the claims of an operator's token.

        Raises:
            OperatorAccessNotConfigured: the settings have no key for tokens.
            Unauthenticated: the token is missing or invalid.
            ScopeMissing: the token lacks the scope.
        """
        if self._tokens is None:
            raise OperatorAccessNotConfigured
        claims = await self._tokens.verify(read_bearer(authorization))
        claims.require(scope)
        return claims

    def _check_signature(self, headers: Mapping[bytes, bytes], body: bytes) -> None:
        if self._signatures is None:
            raise Unauthenticated("signatures-not-configured")
        failure = self._signatures.verify(
            webhook_id=headers.get(b"webhook-id"),
            webhook_timestamp=headers.get(b"webhook-timestamp"),
            webhook_signature=headers.get(b"webhook-signature"),
            body=body,
            now=self._clock(),
        )
        if failure is not None:
            raise Unauthenticated(failure)

    async def _check_token(
        self, headers: Mapping[bytes, bytes], body: bytes, *, is_signed: bool = False
    ) -> None:
        if self._tokens is None:
            raise Unauthenticated("tokens-not-configured")
        claims = await self._tokens.verify(read_bearer(headers.get(b"authorization")))
        # A token alone authenticates the sender but not the body.
        if claims.request_body_sha256 is not None or not is_signed:
            digest = hashlib.sha256(body).hexdigest()
            if not hmac.compare_digest(claims.request_body_sha256 or "", digest):
                raise Unauthenticated("token-for-another-body")
        webhook_id = headers.get(b"webhook-id")
        if claims.webhook_id is not None and (
            webhook_id is None or claims.webhook_id != webhook_id.decode("latin-1")
        ):
            raise Unauthenticated("token-for-another-id")
        claims.require(Scope.WEBHOOKS_WRITE)


def read_bearer(authorization: bytes | None) -> str:
    """Return the token of a header `Authorization`.

    Raises:
        Unauthenticated: it has none.
    """
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated("bearer-missing")
    return token.strip().decode("latin-1")
