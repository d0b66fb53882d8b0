"""The Supabase project of a deployment, for the commands that look at it."""

import time
from collections.abc import Sequence
from typing import Final

from pydantic import field_validator

from app.auth.authentication import WebhookAuth
from app.auth.tokens import mint_token
from app.doctor.inspection.app_keys import read_app_key
from app.doctor.inspection.project import Project
from app.domain.errors import ConfigurationInvalid
from app.settings import Settings, read_settings
from app.supabase.keys import read_key

_TOKEN_SECONDS: Final = 300


class _SupabaseSettings(Settings):
    """The settings of a machine that has those of Supabase, and perhaps no others."""

    @field_validator("webhook_auth")
    @classmethod
    def _require_credentials(cls, value: WebhookAuth, _: object) -> WebhookAuth:
        return value


def read_supabase_settings() -> tuple[Settings, Sequence[str]]:
    """Read the settings, and give beside them what keeps a relay from starting with them.

    Raises:
        ConfigurationInvalid: those of Supabase are among it.
    """
    try:
        return read_settings(Settings), ()
    except ConfigurationInvalid as error:
        return read_settings(_SupabaseSettings), error.sentences


def open_project(
    settings: Settings, publishable_key: str | None, jwt_secret: str | None
) -> Project:
    """Prepare the connections to Supabase, as everybody there is a key for.

    Raises:
        ConfigurationInvalid: a key is not of the kind that it was given as.
    """

    def sign_token(user_id: str) -> str:
        now = int(time.time())
        claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated"}
        return mint_token({**claims, "exp": now + _TOKEN_SECONDS}, secret=jwt_secret or "")

    _, relay_headers = read_key(settings.supabase_service_role_key.get_secret_value())
    return Project(
        settings.supabase_url,
        relay_headers=relay_headers,
        app_headers=None if publishable_key is None else read_app_key(publishable_key),
        sign_token=None if jwt_secret is None else sign_token,
        timeout_seconds=settings.supabase_timeout_seconds,
        clock=time.time,
    )
