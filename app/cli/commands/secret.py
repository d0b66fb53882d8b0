"""`relay secret`: generate a secret."""

import secrets as randomness
from enum import StrEnum
from typing import Annotated

import typer

from app.auth.webhook_keys import generate_key_pair, generate_symmetric_secret
from app.cli.options import AsJson
from app.cli.output.console import errors, output


class SecretKind(StrEnum):
    """Kinds of secrets."""

    HMAC = "hmac"
    ED25519 = "ed25519"
    JWT = "jwt"


def secret(
    kind: Annotated[
        SecretKind,
        typer.Option(help="hmac: one shared secret; ed25519: a key pair; jwt: a JWT_SECRET."),
    ] = SecretKind.HMAC,
    as_json: AsJson = False,
) -> None:
    """Generate a secret and say where it goes.

    To rotate a webhook secret without a gap: add the new one to WEBHOOK_SECRETS,
    after a comma, and restart the relay; let the backend sign with the new one;
    then remove the old one. JWT_SECRET is a single one: a restart with a new one
    ends the tokens that the old one signed.

    Examples:
      relay secret --kind ed25519
    """
    match kind:
        case SecretKind.HMAC:
            shared = generate_symmetric_secret()
            made = {"WEBHOOK_SECRETS": shared}
            note = "The relay and the backend share it; the backend signs with it."
        case SecretKind.ED25519:
            pair = generate_key_pair()
            made = {"WEBHOOK_SECRETS": pair.public, "private_key": pair.private}
            note = "The relay gets the whpk_ key; only the backend gets the whsk_ key and signs."
        case SecretKind.JWT:
            made = {"JWT_SECRET": randomness.token_urlsafe(48)}
            note = "The relay verifies with it; `relay token` signs tokens with it."
    if as_json:
        output.print_json(data=made)
        return
    for name, value in made.items():
        output.print(f"{name}={value}", markup=False)
    errors.print(note, style="dim")
