"""Sessions: the operator's own token in a cookie, verified at every request.

Nothing is stored, so all replicas share a session, and a rotated key ends it.
"""

import logging
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request, Response

from app.api.dependencies import ServicesDependency
from app.auth.authentication import Authenticator
from app.auth.claims import Claims, Scope
from app.console.cross_site import derive_csrf_token
from app.domain.errors import ScopeMissing, Unauthenticated

logger = logging.getLogger(__name__)

COOKIE: Final = "__Host-relay-console"
# Browsers keep 4,096 bytes of a name and its value.
TOKEN_LIMIT_BYTES: Final = 4096 - len(COOKIE)


class LogInRequired(Exception):
    """The request has no valid session."""


@dataclass(frozen=True, slots=True)
class Session:
    """An operator's session.

    Attributes:
        claims: of the operator's token.
        csrf_token: the field `csrf` of the session's forms.
    """

    claims: Claims
    csrf_token: str = field(repr=False)

    @property
    def may_replay(self) -> bool:
        """Whether the operator may change something."""
        return Scope.REPLAY_WRITE in self.claims.scopes


async def _open_session(request: Request, services: ServicesDependency) -> Session:
    """Read the session of a request.

    Raises:
        LogInRequired: it has none, or the token has become invalid.
        ScopeMissing: the token lacks `events:read`.
    """
    token = request.cookies.get(COOKIE, "")
    if not token:
        raise LogInRequired
    try:
        claims = await _authorize(services.authenticator, token)
    except Unauthenticated as error:
        raise LogInRequired from error
    session = request.state.console_session = Session(claims, derive_csrf_token(token))
    return session


async def _authorize(authenticator: Authenticator, token: str) -> Claims:
    return await authenticator.authorize_operator(b"Bearer " + token.encode(), Scope.EVENTS_READ)


ConsoleSession = Annotated[Session, Depends(_open_session)]


class TokenRejected(Exception):
    """The token opens no session; the sentence says why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def check_token(authenticator: Authenticator, token: str) -> Claims:
    """Return the claims of a token that may open a session.

    Raises:
        TokenRejected: it is invalid, lacks `events:read`, or is too long for a cookie.
    """
    if len(token) > TOKEN_LIMIT_BYTES:
        raise TokenRejected(
            413,
            f"The token is longer than {TOKEN_LIMIT_BYTES:,} bytes, which no cookie can hold."
            " Use one with fewer claims.",
        )
    try:
        return await _authorize(authenticator, token)
    except Unauthenticated as error:
        logger.info("rejected a token at the console: %s", error.reason)
        raise TokenRejected(
            401,
            "The relay does not accept this token: it has expired, or was signed with another key,"
            " issuer or audience. The relay's log says which.",
        ) from error
    except ScopeMissing as error:
        raise TokenRejected(
            403, f"{error} `relay token --scope events:read` signs one that has it."
        ) from error


def begin_session(response: Response, token: str, claims: Claims, now: float) -> None:
    """Put a valid token into the cookie, until it expires."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=max(1, int(claims.expires_at - now)),
        path="/",
        secure=True,
        httponly=True,
        samesite="strict",
    )


def end_session(response: Response) -> None:
    """Delete the cookie."""
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
