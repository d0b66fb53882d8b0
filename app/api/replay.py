"""`POST /replay`: ops have something written to Supabase again."""

from typing import Annotated, Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.bodies import REPLAY_BYTES, read_body, read_headers, require_json
from app.api.dependencies import Operator, ServicesDependency
from app.api.forms import read_form
from app.auth.tokens import Scope
from app.domain.entities import EntityState
from app.domain.events import EventId
from app.relay.replay import ReplayRequest

router = APIRouter(tags=["replay"])

_MAXIMUM_IDS = 10_000


class ReplayBody(BaseModel):
    """What to replay: the events that meet every criterion given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    event_ids: Annotated[list[str], Field(min_length=1, max_length=_MAXIMUM_IDS)] | None = Field(
        None, description="These events."
    )
    status: Annotated[EntityState, Field(strict=False)] | None = Field(
        None, description="Events that stand there now."
    )
    all: bool = Field(False, description="Everything; instead of any criterion.")
    dry_run: bool = Field(False, description="Only count what would be replayed.")

    @model_validator(mode="after")
    def _require_criterion(self) -> Self:
        has_criterion = self.event_ids is not None or self.status is not None
        if self.all and has_criterion:
            raise ValueError("all takes no other criterion beside it")
        if not self.all and not has_criterion:
            raise ValueError('say what to replay: event_ids, status, or {"all": true}')
        return self


class ReplayResult(BaseModel):
    """What is being replayed."""

    replay_id: str | None = Field(description="Null for a dry run.")
    matched_events: int
    entities: int = Field(description="How many are written again.")
    status: str = Field(description="`completed`: all are marked; `dry_run`: none is.")


_REQUEST_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReplayBody"}}},
}


@router.post(
    "/replay",
    operation_id="postReplay",
    summary="Write to Supabase again",
    status_code=202,
    responses={200: {"model": ReplayResult, "description": "A dry run: nothing was marked."}},
    openapi_extra={"requestBody": _REQUEST_BODY},
)
async def post_replay(
    request: Request, response: Response, services: ServicesDependency, operator: Operator
) -> ReplayResult:
    """Mark the entities of the matching events to be written again as they are desired now.

    It resends and cannot regress: a removed member stays removed whichever event is replayed.
    Needs `replay:write`.
    """
    # Read here, not by FastAPI: it would tell a stranger what is wrong with his JSON before it
    # asks who he is.
    headers = read_headers(request.scope)
    with services.admission.take(), services.large_admission.take():
        content = await read_body(request.receive, headers, limit_bytes=REPLAY_BYTES)
    require_json(headers)
    claims = await operator.admit(Scope.REPLAY_WRITE)
    body = read_form(ReplayBody, content)
    ids = None if body.event_ids is None else tuple(EventId(id_) for id_ in body.event_ids)
    replay = await services.replayer.replay(
        ReplayRequest(event_ids=ids, state=body.status, everything=body.all),
        requested_by=claims.subject,
        dry_run=body.dry_run,
    )
    if body.dry_run:
        response.status_code = 200
    return ReplayResult(
        replay_id=None if body.dry_run else replay.replay_id,
        matched_events=replay.matched_events,
        entities=replay.entities,
        status="dry_run" if body.dry_run else replay.status,
    )
