"""What endpoints ask for."""

import logging
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from app.api.refusals import find_reason
from app.api.request_body import read_headers
from app.api.services import Services
from app.auth.tokens import Claims, Scope
from app.domain.errors import RequestRejected

logger = logging.getLogger(__name__)

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="OperatorToken",
    bearerFormat="JWT",
    description="A JWT whose `scope` names what it may do: `events:read`, `replay:write`.",
)


def get_services(request: Request) -> Services:
    """Give the services that the lifespan made."""
    return cast(Services, request.app.state.services)


ServicesDependency = Annotated[Services, Depends(get_services)]


class OperatorAuth:
    """Admits the operator that a request comes from, at the moment the endpoint chooses.

    The order of the checks is part of the contract: what can be judged without knowing who asks
    (size, content type) comes before it, what is said of the content comes after it.
    """

    def __init__(
        self, request: Request, services: ServicesDependency, _: Annotated[object, Depends(_bearer)]
    ) -> None:
        self._request = request
        self._services = services

    async def authorize(self, scope: Scope) -> Claims:
        """Give the claims of a caller who has the scope.

        Raises:
            OperatorAccessNotConfigured: no setting says who is an operator.
            Unauthenticated: no valid token.
            ScopeMissing: the token does not allow it.
        """
        authorization = read_headers(self._request.scope).get(b"authorization")
        try:
            return await self._services.authenticator.authorize_operator(authorization, scope)
        except RequestRejected as error:
            logger.info("rejected %s: %s", self._request.url.path, find_reason(error))
            raise


Operator = Annotated[OperatorAuth, Depends()]
