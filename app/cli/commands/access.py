"""`relay access`: why somebody can or cannot read a trip."""

import uuid
from typing import Annotated

import typer

from app.cli.commands.doctor import TRIP_TABLES, JwtSecret, PublishableKey, UserToken
from app.cli.options import DEFAULT_URL, AsJson, Token, Url


def access(
    user: Annotated[uuid.UUID, typer.Option(help="Who.")],
    trip: Annotated[uuid.UUID, typer.Option(help="Which trip.")],
    url: Url = DEFAULT_URL,
    token: Token = None,
    publishable_key: PublishableKey = None,
    jwt_secret: JwtSecret = None,
    user_token: UserToken = None,
    table: Annotated[
        list[str] | None,
        typer.Option(help="A table to read by its trip_id; may be given several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a trip as one of its users would, and explain what comes of it.

    It reads as the user, by a token signed with the project's JWT secret or by
    his own, reads the rows in Supabase with the relay's key, and asks the relay
    what it desires. Exit code 0: he may read; 1: he may not; 2: could not check;
    3: Supabase is not there. A relay that cannot be asked is said, no failure.

    Example: [bold]relay access --user 123e4567-e89b-12d3-a456-426614174000
    --trip 456e7890-e89b-12d3-a456-426614174001[/]
    """
    if user_token is None and jwt_secret is None:
        raise typer.BadParameter(
            "is needed to read as the user, or --user-token", param_hint="--jwt-secret"
        )
    # Here and not above: completion and --help need not wait for what asks.
    from app.cli.commands.inquiry import Question, inquire

    question = Question(
        str(user), str(trip), tuple(table or TRIP_TABLES), publishable_key, jwt_secret, user_token
    )
    if not question.is_of_the_user:
        raise typer.BadParameter("is not a token of --user", param_hint="--user-token")
    raise typer.Exit(inquire(question, url, token, as_json=as_json))
