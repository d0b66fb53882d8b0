"""Who an operator is to a relay: the token given, or one of our own."""

import getpass
import time
from collections.abc import Callable, Sequence
from typing import Final

from app.auth.claims import Scope
from app.auth.tokens import mint_token
from app.domain.errors import ConfigurationInvalid
from app.settings import SecretSettings, read_settings

_OWN_TOKEN_SECONDS: Final = 300


def check_token(token: str) -> str:
    """Give a token as it goes into a header.

    Raises:
        ConfigurationInvalid: no header can carry it.
    """
    bare = token.strip().removeprefix("Bearer ").strip()
    if not bare or not bare.isascii() or not bare.isprintable() or " " in bare:
        raise ConfigurationInvalid("what --token or RELAY_TOKEN gives is no token")
    return bare


class OwnToken:
    """A token of the person at the terminal: it allows one thing, and is renewed in time.

    Raises:
        ConfigurationInvalid: there is nothing to sign it with.
    """

    def __init__(self, scope: Scope, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._scope = scope
        self._clock = clock
        self._settings = read_settings(SecretSettings)
        self._token = self._mint()
        self._minted_at = clock()

    def give(self) -> str:
        """Give one that is valid for a while."""
        if self._clock() - self._minted_at > _OWN_TOKEN_SECONDS / 2:
            self._token, self._minted_at = self._mint(), self._clock()
        return self._token

    def _mint(self) -> str:
        secret = self._settings.jwt_secret
        if secret is None:
            raise ConfigurationInvalid(
                f"there is no token: give one with the scope {self._scope} by --token or"
                " RELAY_TOKEN, or set JWT_SECRET to what the relay has"
            )
        claims = make_claims(
            self._settings,
            scopes=[self._scope],
            subject=_name_operator(),
            seconds=_OWN_TOKEN_SECONDS,
        )
        return mint_token(claims, secret=secret.get_secret_value())


def make_claims(
    settings: SecretSettings, *, scopes: Sequence[Scope], subject: str, seconds: int
) -> dict[str, object]:
    """Say what a token says that a relay with these settings takes, from now on for so long."""
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


def _name_operator() -> str:
    """Give who is to stand in the audit of a replay."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "operator"
