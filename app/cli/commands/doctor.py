"""`relay doctor`: prove a deployment before an event does."""

from typing import Annotated

import typer

TRIP_TABLES = ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence")

PublishableKey = Annotated[
    str | None,
    typer.Option(
        envvar=["SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"],
        help="The key that apps have: publishable, or the legacy anon key.",
    ),
]
JwtSecret = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_JWT_SECRET",
        help="The project's JWT secret (HS256), to sign a short-lived token of a user.",
    ),
]
UserToken = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_USER_TOKEN", help="A user's access token, where there is no secret."
    ),
]


def doctor(
    publishable_key: PublishableKey = None,
    jwt_secret: JwtSecret = None,
    user_token: UserToken = None,
    db_url: Annotated[
        str | None,
        typer.Option(
            envvar="SUPABASE_DB_URL",
            help="postgresql://… of the project: its policies and privileges are read, too.",
        ),
    ] = None,
    trip_table: Annotated[
        list[str] | None,
        typer.Option(help="A table whose rows belong to a trip; may be given several times."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Look at the settings, the store and Supabase, and say what is wrong and how to fix it.

    Nothing is ever written: what is tried names no row, and is rolled back.
    The more keys it has, the more it sees. Exit code 0: all is well; 1: there
    are problems; 2: there are none, but not everything could be checked.

    Example: [bold]relay doctor --publishable-key sb_publishable_… --db-url postgresql://…[/]
    """
    # Here and not above: completion and --help need not wait for the database toolkit.
    from app.cli.commands.diagnosis import Keys, diagnose

    keys = Keys(publishable_key, jwt_secret, user_token, db_url)
    raise typer.Exit(diagnose(keys, tuple(trip_table or TRIP_TABLES), as_json=as_json))
