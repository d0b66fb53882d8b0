"""`relay secret` and `relay token`: what callers need to be let in."""

import json
import secrets as randomness
import time
from enum import StrEnum
from typing import Annotated

import typer

from app.auth.signatures import generate_key_pair, generate_symmetric_secret
from app.auth.tokens import Scope, mint_token
from app.cli.console import errors, output
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings


class SecretKind(StrEnum):
    """What can be made."""

    HMAC = "hmac"
    ED25519 = "ed25519"
    JWT = "jwt"


def secret(
    kind: Annotated[
        SecretKind,
        typer.Option(help="hmac: one shared secret; ed25519: a key pair; jwt: a JWT_SECRET."),
    ] = SecretKind.HMAC,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Make a new secret and say where it goes.

    To rotate without a gap: put the new one beside the old one in WEBHOOK_SECRETS (separated by a
    comma), restart the relay, let the backend sign with the new one, then take the old one out.

    Example: [bold]relay secret --kind ed25519[/]
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
        output.print_json(json.dumps(made))
        return
    for name, value in made.items():
        output.print(f"{name}={value}", markup=False)
    errors.print(note, style="dim")


def token(
    scope: Annotated[
        list[Scope], typer.Option(help="What the token allows; may be given several times.")
    ],
    subject: Annotated[str, typer.Option(help="Whose token it is; replays are audited by it.")] = (
        "operator"
    ),
    hours: Annotated[float, typer.Option(min=0.01, help="How long it is valid.")] = 1.0,
    issuer: Annotated[str | None, typer.Option(help="`iss`, where JWT_ISSUER is set.")] = None,
    audience: Annotated[str | None, typer.Option(help="`aud`, where JWT_AUDIENCE is set.")] = None,
) -> None:
    """Sign a token with JWT_SECRET, for /replay and /events.

    Example: [bold]relay token --scope replay:write --scope events:read --subject jane[/]
    """
    settings = read_settings(SecretSettings)
    if settings.jwt_secret is None:
        raise ConfigurationInvalid(
            "JWT_SECRET is not set; `relay secret --kind jwt` makes one. Where JWT_JWKS_URL is"
            " used, your identity provider signs the tokens."
        )
    now = int(time.time())
    claims: dict[str, object] = {
        "sub": subject,
        "scope": " ".join(scope),
        "iat": now,
        "exp": now + round(hours * 3600),
    }
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    output.print(mint_token(claims, secret=settings.jwt_secret.get_secret_value()), markup=False)
