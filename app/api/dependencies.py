"""Dependencies of the endpoints."""

import logging
from collections import Counter
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from app.api.problems import find_reason
from app.api.request_body import read_headers
from app.api.services import Services
from app.auth.claims import Claims, Scope
from app.domain.documents import write_pointer
from app.domain.errors import FieldError, InputInvalid, RequestRejected

logger = logging.getLogger(__name__)

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="OperatorToken",
    bearerFormat="JWT",
    description="A JWT with the scope of the operation: `events:read` or `replay:write`.",
)


def _get_services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


ServicesDependency = Annotated[Services, Depends(_get_services)]


def _require(scope: Scope) -> Any:
    """Make a dependency that authorizes an operator.

    FastAPI resolves dependencies before it validates parameters, so callers without access learn
    nothing about their input.
    """

    async def authorize(
        request: Request, services: ServicesDependency, _: Annotated[object, Depends(_bearer)]
    ) -> Claims:
        return await require_scope(request, services, scope)

    return Depends(authorize)


async def require_scope(request: Request, services: Services, scope: Scope) -> Claims:
    """Authorize an operator.

    Raises:
        RequestRejected: the token is invalid or lacks the scope.
    """
    authorization = read_headers(request.scope).get(b"authorization")
    try:
        return await services.authenticator.authorize_operator(authorization, scope)
    except RequestRejected as error:
        logger.info("rejected %s: %s", request.url.path, find_reason(error))
        raise


EventAccess = Annotated[Claims, _require(Scope.EVENTS_READ)]
ReplayAccess = Annotated[Claims, _require(Scope.REPLAY_WRITE)]


def _reject_repeated_parameters(request: Request) -> None:
    counts = Counter(name for name, _ in request.query_params.multi_items() if name != "types")
    errors = [
        FieldError(write_pointer("query", name), "is given more than once")
        for name, count in counts.items()
        if count > 1
    ]
    if errors:
        raise InputInvalid(errors)


UniqueParameters = Annotated[None, Depends(_reject_repeated_parameters)]
"""Every query parameter but `types` may be given once. Place it after the authorization."""
