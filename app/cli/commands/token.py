"""`relay token`: sign a token with JWT_SECRET."""

import hashlib
from typing import Annotated, Final

import typer

from app.auth.claims import Scope
from app.auth.tokens import mint_token
from app.cli.client.operator_token import make_claims
from app.cli.errors import UsageError
from app.cli.output.console import output
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings

_MAXIMUM_HOURS: Final = 24


def token(
    scope: Annotated[list[Scope], typer.Option(help="What the token allows; can be repeated.")],
    subject: Annotated[
        str, typer.Option(metavar="NAME", help="The owner, by whom replays are audited.")
    ] = "operator",
    hours: Annotated[
        float,
        typer.Option(
            "--hours",
            min=0.01,
            max=87_600,
            metavar="HOURS",
            help="The validity; over 24 with --force.",
        ),
    ] = 1.0,
    force: Annotated[bool, typer.Option("--force", help="Allow more than 24 hours.")] = False,
    webhook_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="With webhooks:write: valid only for the event with this webhook-id."
        ),
    ] = None,
    body: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            metavar="FILE", help="With webhooks:write: valid only for this body; - for stdin."
        ),
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="ISS", help="The issuer; default: JWT_ISSUER.")
    ] = None,
    audience: Annotated[
        str | None, typer.Option(metavar="AUD", help="The audience; default: JWT_AUDIENCE.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the token and its claims as JSON.")
    ] = False,
) -> None:
    """Sign a token with JWT_SECRET for operators, or for one webhook.

    `relay events` and `relay replay` sign their own token where JWT_SECRET is set.
    A token cannot be revoked before it expires, except with a new JWT_SECRET. A
    webhook that is sent with a token only needs --body, and should have
    --webhook-id.

    Examples:
      relay token --scope replay:write --scope events:read --subject jane
      export RELAY_TOKEN=$(relay token --scope events:read)
    """
    if hours > _MAXIMUM_HOURS and not force:
        raise UsageError(
            f"--hours {hours:g} is too long, as a token cannot be revoked: give at most"
            f" {_MAXIMUM_HOURS}, or add --force"
        )
    if (webhook_id is not None or body is not None) and Scope.WEBHOOKS_WRITE not in scope:
        raise UsageError("--webhook-id and --body go with --scope webhooks:write")
    settings = read_settings(SecretSettings)
    if settings.jwt_secret is None:
        raise ConfigurationInvalid(
            "JWT_SECRET is not set; `relay secret --kind jwt` generates one. With JWT_JWKS_URL,"
            " your identity provider signs the tokens."
        )
    claims = make_claims(
        settings,
        scopes=scope,
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
