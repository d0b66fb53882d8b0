"""`relay token`: sign a token with JWT_SECRET."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final

import typer

from app.auth.claims import Scope
from app.auth.tokens import mint_token
from app.cli.client.operator_token import make_claims
from app.cli.errors import Misused
from app.cli.output.console import output
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings

_MAXIMUM_HOURS: Final = 24


def _complete_scopes(incomplete: str) -> Iterator[str]:

    return (scope for scope in Scope if scope.startswith(incomplete))


def _check_scopes(scopes: list[str]) -> list[str]:

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
    """Sign a token with JWT_SECRET for operators, or for one webhook.

    `relay events` and `relay replay` need none where JWT_SECRET is set: they sign
    their own. No token can be revoked before it expires, except by a new
    JWT_SECRET. A webhook that is sent with only a token needs --body, and should
    have --webhook-id.

    Examples:
      relay token --scope replay:write --scope events:read --subject jane
      export RELAY_TOKEN=$(relay token --scope events:read)
    """
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
