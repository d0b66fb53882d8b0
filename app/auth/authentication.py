"""Who may send webhooks: signature, token, either or both."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from app.auth.signatures import SignatureVerifier
from app.auth.tokens import Claims, Scope, TokenVerifier
from app.domain.errors import OperatorAccessNotConfigured, Unauthenticated


class WebhookAuth(StrEnum):
    """What a webhook must carry."""

    HMAC = "hmac"
    JWT = "jwt"
    ANY = "any"
    BOTH = "both"


_BY_SIGNATURE_ALONE: Final = (WebhookAuth.HMAC, WebhookAuth.ANY)


class Authenticator:
    """Authenticates senders and authorizes operators.

    Args:
        mode: what a webhook must carry.
        signatures: None only in a mode that needs no signature.
        tokens: None only in a mode that needs no token; operators then have no access.
        clock: Unix seconds.
    """

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
        """Let an authentic webhook pass.

        Raises:
            Unauthenticated: it is not signed, or carries no valid token for this body, or one for
                another id.
            ScopeMissing: its token does not allow it.
        """
        match self._mode:
            case WebhookAuth.HMAC:
                self._check_signature(headers, body)
            case WebhookAuth.JWT:
                await self._check_token(headers, body)
            case WebhookAuth.BOTH:
                self._check_signature(headers, body)
                await self._check_token(headers, body, signed=True)
            case WebhookAuth.ANY:
                try:
                    self._check_signature(headers, body)
                except Unauthenticated:
                    if b"authorization" not in headers:
                        raise
                    await self._check_token(headers, body)

    def has_valid_signature(self, headers: Mapping[bytes, bytes], body: bytes) -> bool:
        """Tell whether a signature is enough and valid; if not, `authenticate_webhook` decides."""
        if self._mode not in _BY_SIGNATURE_ALONE:
            return False
        try:
            self._check_signature(headers, body)
        except Unauthenticated:
            return False
        return True

    async def authorize_operator(self, authorization: bytes | None, scope: Scope) -> Claims:
        """Let an operator pass who has the scope, and say who it is.

        Raises:
            OperatorAccessNotConfigured: no setting says who is an operator.
            Unauthenticated: no valid token.
            ScopeMissing: the token does not allow it.
        """
        if self._tokens is None:
            raise OperatorAccessNotConfigured
        claims = await self._tokens.verify(_read_bearer(authorization))
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
        self, headers: Mapping[bytes, bytes], body: bytes, *, signed: bool = False
    ) -> None:
        if self._tokens is None:
            raise Unauthenticated("tokens-not-configured")
        claims = await self._tokens.verify(_read_bearer(headers.get(b"authorization")))
        # A bearer token authenticates its sender, not what they send.
        digest = hashlib.sha256(body).hexdigest()
        unnamed = signed and claims.request_body_sha256 is None
        if not unnamed and not hmac.compare_digest(claims.request_body_sha256 or "", digest):
            raise Unauthenticated("token-for-another-body")
        webhook_id = headers.get(b"webhook-id")
        sent = None if webhook_id is None else webhook_id.decode("latin-1")
        if claims.webhook_id is not None and claims.webhook_id != sent:
            raise Unauthenticated("token-for-another-id")
        claims.require(Scope.WEBHOOKS_WRITE)


def _read_bearer(authorization: bytes | None) -> str:
    scheme, _, token = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated("bearer-missing")
    return token.strip().decode("latin-1")
