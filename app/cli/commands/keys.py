"""`relay secret` and `relay token`: what callers need to be let in."""

import hashlib
import json
import secrets as randomness
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Final

import typer

from app.cli.errors import Misused
from app.cli.output.console import errors, output
from app.domain.errors import ConfigurationInvalid

_MAXIMUM_HOURS: Final = 24


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

    To rotate without a gap: put the new one beside the old one in WEBHOOK_SECRETS
    (separated by a comma), restart the relay, let the backend sign with the new
    one, then take the old one out. Of JWT_SECRET there is one at a time: tokens
    that the old one signed end with the restart.

    Example: [bold]relay secret --kind ed25519[/]
    """
    # Here and not above: completion and --help need not wait for the cryptography.
    from app.auth.signatures import generate_key_pair, generate_symmetric_secret

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


def _complete_scopes(incomplete: str) -> Iterator[str]:
    from app.auth.tokens import Scope

    return (scope for scope in Scope if scope.startswith(incomplete))


def _check_scopes(scopes: list[str]) -> list[str]:
    from app.auth.tokens import Scope

    for scope in scopes:
        if scope not in list(Scope):
            raise typer.BadParameter(f"{scope!r} is not one of {', '.join(Scope)}")
    return scopes


def token(
    scope: Annotated[
        list[str],
        typer.Option(
            callback=_check_scopes,
            autocompletion=_complete_scopes,
            help="What the token allows: events:read, replay:write, webhooks:write; may be given"
            " several times.",
        ),
    ],
    subject: Annotated[str, typer.Option(help="Whose token it is; replays are audited by it.")] = (
        "operator"
    ),
    hours: Annotated[
        float,
        typer.Option(min=0.01, max=87_600, help="How long it is valid; over 24 with --force."),
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Allow more than 24 hours.")] = False,
    webhook_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="With webhooks:write: good for an event with this webhook-id only."
        ),
    ] = None,
    body: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            metavar="FILE",
            help="With webhooks:write: good for this body only; - is standard input.",
        ),
    ] = None,
    issuer: Annotated[str | None, typer.Option(help="`iss`; default: JWT_ISSUER.")] = None,
    audience: Annotated[str | None, typer.Option(help="`aud`; default: JWT_AUDIENCE.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: the token, and the claims in it.")
    ] = False,
) -> None:
    """Sign a token with JWT_SECRET, for /replay, /events or one webhook.

    `relay events` and `relay replay` need none where JWT_SECRET is set: they sign
    their own. No token can be revoked before it expires, except by a new
    JWT_SECRET. A webhook that is sent with only a token needs --body, and should
    have --webhook-id.

    Example: [bold]relay token --scope replay:write --scope events:read --subject jane[/],
    or [bold]export RELAY_TOKEN=$(relay token --scope events:read)[/]
    """
    from app.auth.tokens import Scope, mint_token
    from app.cli.client.operator_token import make_claims
    from app.settings import SecretSettings, read_settings

    if hours > _MAXIMUM_HOURS and not force:
        raise Misused(
            f"--hours {hours:g} is too long: a token cannot be revoked. Give at most --hours"
            f" {_MAXIMUM_HOURS}, or add --force"
        )
    if (webhook_id is not None or body is not None) and Scope.WEBHOOKS_WRITE not in scope:
        raise Misused("--webhook-id and --body go with --scope webhooks:write")
    settings = read_settings(SecretSettings)
    if settings.jwt_secret is None:
        raise ConfigurationInvalid(
            "JWT_SECRET is not set; `relay secret --kind jwt` makes one. Where JWT_JWKS_URL is"
            " used, your identity provider signs the tokens."
        )
    claims = make_claims(
        settings,
        scopes=[Scope(word) for word in scope],
        subject=subject,
        seconds=round(hours * 3600),
    )
    if webhook_id is not None:
        claims["webhook_id"] = webhook_id
    if body is not None:
        claims["request_body_sha256"] = hashlib.sha256(body.read()).hexdigest()
    if issuer is not None:
        claims["iss"] = issuer
    if audience is not None:
        claims["aud"] = audience
    signed = mint_token(claims, secret=settings.jwt_secret.get_secret_value())
    if as_json:
        output.print_json(data={"token": signed, "claims": claims})
    else:
        output.print(signed, markup=False)
