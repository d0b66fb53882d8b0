"""The settings and keys of a Supabase project, for `relay doctor` and `relay access`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

import typer
from pydantic import ValidationInfo, field_validator
from typing_extensions import override

from app.auth.authentication import WebhookAuth
from app.doctor.project import Project, read_app_key
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings, read_settings
from app.supabase.client import open_http_client
from app.supabase.keys import read_key

TRIP_TABLES: Final = ("chat_messages", "chat_reactions", "chat_read_receipts", "user_presence")
PublishableKey = Annotated[
    str | None,
    typer.Option(
        envvar=["SUPABASE_PUBLISHABLE_KEY", "SUPABASE_ANON_KEY"],
        metavar="KEY",
        help="The key that apps hold: publishable, or the legacy anon key.",
    ),
]
JwtSecret = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_JWT_SECRET",
        metavar="SECRET",
        help="The project's JWT secret (HS256), to sign a short-lived token of a user.",
    ),
]
UserToken = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_USER_TOKEN",
        metavar="TOKEN",
        help="A user's access token, for projects without a JWT secret.",
    ),
]


DbUrl = Annotated[
    str | None,
    typer.Option(
        envvar="SUPABASE_DB_URL",
        metavar="URL",
        help="postgresql://… of the project, to read its catalog and try its policies.",
    ),
]


@dataclass(frozen=True, slots=True)
class Keys:
    """The optional keys."""

    publishable_key: str | None
    jwt_secret: str | None
    user_token: str | None
    db_url: str | None = None


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


@asynccontextmanager
async def open_project(settings: Settings, keys: Keys) -> AsyncIterator[Project]:
    """Open the project with every key that was given.

    Raises:
        ConfigurationInvalid: a key is of another kind.
    """
    app_key = keys.publishable_key
    relay_key = settings.supabase_service_role_key.get_secret_value()
    async with open_http_client(
        settings.supabase_url, {}, timeout_seconds=settings.supabase_timeout_seconds
    ) as http:
        yield Project(
            http,
            settings.targets,
            relay_headers=read_key(relay_key)[1],
            app_headers=None if app_key is None else read_app_key(app_key),
            jwt_secret=keys.jwt_secret,
            user_token=keys.user_token,
        )
