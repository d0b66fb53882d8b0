"""The settings and keys of a Supabase project, for `relay doctor` and `relay access`."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer
from pydantic import ValidationInfo, field_validator
from typing_extensions import override

from app.auth.authentication import WebhookAuth
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings, read_settings

TRIP_TABLES: Final = ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence")
PublishableKey = Annotated[
    str | None,
    typer.Option(
        envvar=["SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"],
        help="The key that apps hold: publishable, or the legacy anon key.",
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
        envvar="SUPABASE_USER_TOKEN",
        help="A user's access token, for projects without a JWT secret.",
    ),
]


class _SupabaseSettings(Settings):
    """The settings of a machine that may have only those of Supabase."""

    @override
    @field_validator("webhook_auth")
    @classmethod
    def _require_credentials(cls, value: WebhookAuth, info: ValidationInfo) -> WebhookAuth:
        return value


def read_supabase_settings() -> tuple[Settings, Sequence[str]]:
    """Read the settings, and what keeps a relay from starting with them.

    Raises:
        ConfigurationInvalid: Supabase's own settings are incomplete.
    """
    try:
        return read_settings(Settings), ()
    except ConfigurationInvalid as error:
        return read_settings(_SupabaseSettings), error.sentences
