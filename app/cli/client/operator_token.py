"""The token that an operator's requests carry: the given one, or one signed with JWT_SECRET."""

import getpass
import time
from collections.abc import Callable, Sequence
from typing import Final

from app.auth.claims import Scope
from app.auth.tokens import mint_token
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings

TOKEN_SECONDS: Final = 300


def make_token_source(
    token: str | None, scopes: Sequence[Scope], seconds: int = TOKEN_SECONDS
) -> Callable[[], str]:
    """Return a function that gives the token for the next request: the given one, or a new one.

    Args:
        seconds: how long a new one is valid.

    Raises:
        ConfigurationInvalid: the token is not one, or JWT_SECRET is not set.
    """
    if token is not None:
        bare = token.strip().removeprefix("Bearer ").strip()
        if not bare or not bare.isascii() or not bare.isprintable() or " " in bare:
            raise ConfigurationInvalid("--token or RELAY_TOKEN is not a token")
        return lambda: bare
    settings = read_settings(SecretSettings)
    secret = settings.jwt_secret
    if secret is None:
        raise ConfigurationInvalid(
            f"an operator's token is missing: set JWT_SECRET to the relay's, or RELAY_TOKEN (or"
            f" --token) to a token with the scope {' and '.join(scopes)}"
        )

    def sign_token() -> str:
        claims = make_claims(settings, scopes=scopes, subject=find_user_name(), seconds=seconds)
        return mint_token(claims, secret=secret.get_secret_value())

    return sign_token


def make_claims(
    settings: SecretSettings, *, scopes: Sequence[Scope], subject: str, seconds: int
) -> dict[str, object]:
    """Return the claims that a relay with these settings accepts for the next seconds."""
    now = int(time.time())
    claims: dict[str, object] = {
        "sub": subject,
        "scope": " ".join(scopes),
        "iat": now,
        "exp": now + seconds,
    }
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience is not None:
        claims["aud"] = settings.jwt_audience
    return claims


def find_user_name() -> str:
    """Return the name that tokens carry, by which replays are audited."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "operator"
