"""Making and signing events, as a backend does."""

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from app.auth.claims import Scope
from app.auth.signatures import sign
from app.auth.tokens import mint_token
from app.cli.client.operator_token import find_user_name, make_claims
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings

_TOKEN_SECONDS: Final = 300  # as long as a signature is valid


def make_body(event_type: str, data: Mapping[str, str], timestamp: str | None = None) -> bytes:
    """Write the body of an event."""
    occurred_at = timestamp or datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event_type, "timestamp": occurred_at, "data": data}).encode()


def make_event_id() -> str:
    """Make a unique event id."""
    return f"evt_{uuid.uuid4().hex}"


def sign_body(
    secret: str, body: bytes, *, event_id: str | None = None, wait_seconds: int | None = None
) -> dict[str, str]:
    """Return the headers that identify, date and sign a body.

    Raises:
        ConfigurationInvalid: the secret cannot sign.
    """
    now = int(time.time())
    webhook_id = event_id or make_event_id()
    headers = {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, webhook_id=webhook_id, timestamp=now, body=body),
    }
    return headers if wait_seconds is None else headers | {"prefer": f"wait={wait_seconds}"}


@dataclass(frozen=True, slots=True)
class WebhookSigner:
    """Signs bodies with a secret, a token or both, for every `WEBHOOK_AUTH` of a relay.

    Attributes:
        secret: signs the body; None for no signature.
        token_settings: sign a token for the body; None for no token.
    """

    secret: str | None
    token_settings: SecretSettings | None = None

    def sign(
        self, body: bytes, *, event_id: str | None = None, wait_seconds: int | None = None
    ) -> dict[str, str]:
        """Return the headers that identify, date and sign a body.

        Raises:
            ConfigurationInvalid: the secret or JWT_SECRET cannot sign.
        """
        webhook_id = event_id or make_event_id()
        headers = {"content-type": "application/json", "webhook-id": webhook_id}
        if self.secret is not None:
            headers = sign_body(self.secret, body, event_id=webhook_id)
        if self.token_settings is not None:
            headers["authorization"] = (
                f"Bearer {_sign_token(self.token_settings, webhook_id, body)}"
            )
        return headers if wait_seconds is None else headers | {"prefer": f"wait={wait_seconds}"}


def _sign_token(settings: SecretSettings, webhook_id: str, body: bytes) -> str:
    claims = make_claims(
        settings,
        scopes=[Scope.WEBHOOKS_WRITE],
        subject=find_user_name(),
        seconds=_TOKEN_SECONDS,
    )
    claims |= {"webhook_id": webhook_id, "request_body_sha256": hashlib.sha256(body).hexdigest()}
    secret = "" if settings.jwt_secret is None else settings.jwt_secret.get_secret_value()
    return mint_token(claims, secret=secret)


def make_signer(secret: str | None = None) -> WebhookSigner:
    """Make a signer with a secret; without one, with the relay's WEBHOOK_SECRETS and JWT_SECRET.

    Raises:
        ConfigurationInvalid: there is none of them.
    """
    if secret is not None:
        return WebhookSigner(secret)
    settings = read_settings(SecretSettings)
    secrets = (each.get_secret_value() for each in settings.webhook_secrets)
    found = next((each for each in secrets if each.startswith("whsec_")), None)
    if found is None and settings.jwt_secret is None:
        raise ConfigurationInvalid(
            "a secret is missing: set WEBHOOK_SECRETS to the relay's, or give --secret; with"
            " WEBHOOK_AUTH=jwt, set JWT_SECRET"
        )
    return WebhookSigner(found, None if settings.jwt_secret is None else settings)
