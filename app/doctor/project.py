"""One Supabase project, used as the relay, as an app without a user, and as a signed-in user."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from app.auth.tokens import mint_token
from app.doctor.probes import ProbeClient
from app.domain.errors import ConfigurationInvalid
from app.supabase.keys import read_claim, read_role
from app.supabase.targets import Targets

_TOKEN_SECONDS: Final = 300
_WANTED: Final = (
    "It must be the publishable key (sb_publishable_…) or the legacy anon key: Supabase dashboard,"
    " Settings, API keys"
)


@dataclass(frozen=True, slots=True)
class Project:
    """A project, and the keys to use it with.

    Attributes:
        http: its base URL is PostgREST's; sends no key by itself.
        app_headers: headers of the key that apps hold; None if that key is unknown.
        jwt_secret: signs tokens of users; None if it is unknown.
        user_token: of one user.
    """

    http: httpx.AsyncClient
    targets: Targets
    relay_headers: Mapping[str, str]
    app_headers: Mapping[str, str] | None
    jwt_secret: str | None
    user_token: str | None

    @property
    def relay(self) -> ProbeClient:
        """The relay."""
        return ProbeClient(self.http, self.relay_headers)

    @property
    def anon(self) -> ProbeClient | None:
        """An app without a signed-in user; None without its key."""
        return None if self.app_headers is None else ProbeClient(self.http, self.app_headers)

    def as_user(self, user_id: str) -> ProbeClient | None:
        """Sign a token for a user; None without the keys for that."""
        if self.jwt_secret is None:
            return None
        claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated"}
        expires_at = int(time.time()) + _TOKEN_SECONDS
        return self._with_token(mint_token({**claims, "exp": expires_at}, secret=self.jwt_secret))

    def as_token_user(self) -> ProbeClient | None:
        """Use the token of one user; None if it or the app's key is missing."""
        return None if self.user_token is None else self._with_token(self.user_token)

    def _with_token(self, token: str) -> ProbeClient | None:
        headers = self.app_headers
        # A new secret key (sb_secret_…) cannot be combined with a user's token.
        # With the legacy key, the token alone names the user.
        if headers is None and "Authorization" in self.relay_headers:
            headers = self.relay_headers
        if headers is None:
            return None
        return ProbeClient(self.http, {**headers, "Authorization": f"Bearer {token}"})


def read_app_key(key: str) -> Mapping[str, str]:
    """Check the key that apps hold, and return the headers of an app without a user.

    Raises:
        ConfigurationInvalid: the key is of another kind. The message does not contain the key.
    """
    key = key.strip()
    if key.isascii() and key.isprintable() and " " not in key:
        if key.startswith("sb_publishable_"):
            return {"apikey": key}
        role = read_role(key)
        if role == "anon":
            return {"apikey": key, "Authorization": f"Bearer {key}"}
        if key.startswith("sb_secret_") or role == "service_role":
            raise ConfigurationInvalid(
                "SUPABASE_PUBLISHABLE_KEY is a key that bypasses Row Level Security. If an app"
                f" holds it, replace it at once: anyone can write everything with it. {_WANTED}."
            )
    raise ConfigurationInvalid(
        f"SUPABASE_PUBLISHABLE_KEY is not a publishable or anon key. {_WANTED}."
    )


def read_subject(token: str) -> str | None:
    """Read the user's id in a token, unverified; None if the token is not a user's."""
    try:
        return str(uuid.UUID(read_claim(token, "sub")))
    except (ValueError, TypeError):
        return None
