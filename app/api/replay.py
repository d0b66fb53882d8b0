"""`POST /replay`, `GET /replay` and `GET /replay/{replay_id}`: re-sync entities."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.api.cursors import read_cursor, write_cursor
from app.api.dependencies import ReplayAccess, ServicesDependency, UniqueParameters
from app.api.filters import PageQuery
from app.api.problems import OPERATOR_ERRORS, REQUEST_ERRORS, describe_problems
from app.api.replay_bodies import (
    ReplayBody,
    ReplayList,
    ReplayReport,
    ReplayResult,
)
from app.api.request_body import REPLAY_BYTES, parse_body, read_json_body
from app.api.services import Services
from app.domain.contract import UUID_PATTERN
from app.domain.errors import InputInvalid, ReplayNotFound
from app.domain.history import ReplayId

router = APIRouter(tags=["replay"], responses=describe_problems(*OPERATOR_ERRORS))

PATH: Final = "/replay"


async def _read_content(request: Request) -> bytes:
    return await read_json_body(request, limit_bytes=REPLAY_BYTES)


@router.post(
    PATH,
    operation_id="postReplay",
    summary="Re-sync entities",
    status_code=202,
    responses={
        200: {"model": ReplayResult, "description": "A dry run: nothing was queued."},
        **describe_problems(*REQUEST_ERRORS),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ReplayBody"}}
            },
        }
    },
)
async def post_replay(
    # FastAPI would parse a body before it resolves the authorization.
    content: Annotated[bytes, Depends(_read_content)],
    operator: ReplayAccess,
    response: Response,
    services: ServicesDependency,
) -> ReplayResult:
    """Apply the current desired state of the matching events' entities to Supabase again.

    A replay never restores an older state. Needs `replay:write`.
    """
    body = parse_body(ReplayBody, content)
    if body.dry_run:
        response.status_code = 200
        matches = await services.replayer.count(body.criteria)
        return ReplayResult(
            replay_id=None,
            matched_events=matches.events,
            entities=matches.entities,
            status="dry_run",
        )
    replay = await services.replayer.replay(body.criteria, requested_by=operator.subject)
    return ReplayResult(
        replay_id=replay.replay_id,
        matched_events=replay.matches.events,
        entities=replay.matches.entities,
        status=replay.status,
    )


@router.get(
    PATH,
    operation_id="listReplays",
    summary="List replays",
    responses=describe_problems(InputInvalid),
)
async def list_replays(
    _: ReplayAccess,
    __: UniqueParameters,
    query: Annotated[PageQuery, Query()],
    services: ServicesDependency,
) -> ReplayList:
    """List the replays, newest first. Needs `replay:write`."""
    before = None
    if query.cursor is not None:
        (before,) = read_cursor(query.cursor, "replays", length=1)
    page = await services.replayer.list(before, query.limit)
    following = page.next_number
    return ReplayList(
        replays=[ReplayReport.model_validate(replay).shorten() for replay in page.replays],
        next_cursor=None if following is None else write_cursor((following,), "replays"),
    )


@router.get(
    "/replay/{replay_id}",
    operation_id="getReplay",
    summary="Get a replay",
    responses=describe_problems(ReplayNotFound),
)
async def get_replay(
    replay_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
    _: ReplayAccess,
    services: ServicesDependency,
) -> ReplayReport:
    """Get a replay and its progress. Needs `replay:write`."""
    return await read_replay(services, replay_id)


async def read_replay(services: Services, replay_id: str) -> ReplayReport:
    """Read a replay and its progress.

    Raises:
        ReplayNotFound: it does not exist.
    """
    # PostgreSQL does not accept every string.
    if re.fullmatch(UUID_PATTERN, replay_id) is None:
        raise ReplayNotFound
    return ReplayReport.model_validate(await services.replayer.find(ReplayId(replay_id.lower())))
