"""The forms that the console's pages post."""

from typing import Annotated, Any

from fastapi import Depends, Request

from app.auth.claims import Scope
from app.console.cross_site import Form, read_form, require_csrf_token
from app.console.session import ConsoleSession


def _protect(scope: Scope) -> Any:
    """Make a dependency that checks the scope and the CSRF token, and reads the form.

    `ConsoleRoute` has checked the origin.
    """

    async def read(request: Request, session: ConsoleSession) -> Form:
        session.claims.require(scope)
        form = await read_form(request)
        require_csrf_token(form, session.csrf_token)
        return form

    return Depends(read)


SessionForm = Annotated[Form, _protect(Scope.EVENTS_READ)]
"""The form of an operator who may read."""

ReplayForm = Annotated[Form, _protect(Scope.REPLAY_WRITE)]
"""The form of an operator who may change something."""
