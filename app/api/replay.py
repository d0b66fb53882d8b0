"""`POST /replay` and what came of it: ops have something written to Supabase again."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.cursors import read_cursor, write_cursor
from app.api.dependencies import Operator, ServicesDependency
from app.api.filters import Entity, InstantText, Types, check_range
from app.api.request_body import REPLAY_BYTES, read_body, read_headers, require_json
from app.api.validation import describe_query, parse_body, read_query
from app.auth.tokens import Scope
from app.domain.contract import UUID_PATTERN
from app.domain.criteria import Criteria
from app.domain.entities import EntityState, EventStatus
from app.domain.errors import ReplayNotFound
from app.domain.events import EventId
from app.domain.history import Replay, ReplayId, ReplayStatus
from app.domain.instants import Instant, to_datetime

router = APIRouter(tags=["replay"])

PATH: Final = "/replay"

_MAXIMUM_IDS: Final = 10_000
_MAXIMUM_LIMIT: Final = 200
_LISTED_IDS: Final = 20
_CRITERIA: Final = ("event_ids", "since", "until", "types", "entity", "status")


# null is no criterion.
_ANY_CRITERION: Final[Any] = {
    "anyOf": [
        {"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in _CRITERIA
    ]
}
_EVERYTHING: Final[Any] = {"required": ["all"], "properties": {"all": {"const": True}}}


class ReplayBody(BaseModel):
    """What to replay: the events that meet every criterion given."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            # What generators of clients pass over, where an anyOf would make six types of one.
            "if": _EVERYTHING,
            "then": {"not": _ANY_CRITERION},
            "else": _ANY_CRITERION,
            "examples": [
                {"types": ["membership.*"], "since": "2026-01-02T03:00:00Z", "dry_run": True},
                {"status": "dead"},
                {"all": True},
            ],
        },
    )

    event_ids: Annotated[list[str], Field(min_length=1, max_length=_MAXIMUM_IDS)] | None = Field(
        None, description="These events."
    )
    since: InstantText | None = Field(None, description="Received then or later.")
    until: InstantText | None = Field(None, description="Received before then.")
    types: Types | None = Field(None, description="Types, or all of a kind as `membership.*`.")
    entity: Entity | None = Field(None, description="Events of this entity.")
    status: Annotated[EntityState, Field(strict=False)] | None = Field(
        None, description="Events that stand there now."
    )
    all: bool = Field(False, description="Everything; instead of any criterion.")
    dry_run: bool = Field(False, description="Only count what would be replayed.")

    @model_validator(mode="after")
    def _require_criterion(self) -> Self:
        has_criterion = any(getattr(self, name) is not None for name in _CRITERIA)
        if self.all and has_criterion:
            raise ValueError("all takes no other criterion beside it")
        if not self.all and not has_criterion:
            raise ValueError(f'say what to replay: {", ".join(_CRITERIA)}, or {{"all": true}}')
        check_range(self.since, self.until)
        return self

    @property
    def criteria(self) -> Criteria:
        """What is asked for."""
        ids = self.event_ids
        return Criteria(
            event_ids=None if ids is None else tuple(EventId(id_) for id_ in ids),
            since=None if self.since is None else Instant(self.since),
            until=None if self.until is None else Instant(self.until),
            types=self.types,
            entity=self.entity,
            status=None if self.status is None else EventStatus(self.status.value),
        )


class ReplayResult(BaseModel):
    """What is being replayed."""

    replay_id: str | None = Field(description="Null for a dry run.")
    matched_events: int
    entities: int = Field(description="How many are written again.")
    status: ReplayStatus | Literal["dry_run"] = Field(
        description="`completed`: all are marked to be written again; `running`: not yet."
    )


class ReplayReport(BaseModel):
    """A replay and what has come of it so far."""

    replay_id: str
    requested_at: datetime
    requested_by: str | None = Field(description="The subject of the token.")
    filter: dict[str, Any] = Field(
        description="As it was asked for; empty for everything. A list of replays shows the first"
        f" {_LISTED_IDS} of `event_ids`, and in `event_ids_omitted` how many there are more."
    )
    status: ReplayStatus = Field(
        description="`completed`: all are marked to be written again; `failed`: given up, what is"
        " marked is written all the same."
    )
    matched_events: int
    entities: int = Field(description="How many were to be marked when it was asked for.")
    marked: int = Field(
        description="How many are, in one pass in the order of the keys. What changes meanwhile and"
        " lies ahead counts as it is then: this may end above or below `entities`."
    )
    applied: int = Field(description="Of the marked: written again.")
    waiting: int = Field(description="Of the marked: still to be written.")
    dead: int = Field(description="Of the marked: refused for good.")
    superseded: int = Field(description="Of the marked: taken over by a later replay.")

    @classmethod
    def of(cls, replay: Replay, *, is_listed: bool = False) -> "ReplayReport":
        """Write a replay; in a list, without all of its ids."""
        filter_ = write_filter(replay.criteria)
        omitted = len(filter_.get("event_ids", ())) - _LISTED_IDS
        if is_listed and omitted > 0:
            filter_["event_ids"] = filter_["event_ids"][:_LISTED_IDS]
            filter_["event_ids_omitted"] = omitted
        return cls(
            replay_id=replay.replay_id,
            requested_at=to_datetime(replay.requested_at),
            requested_by=replay.requested_by,
            filter=filter_,
            status=replay.status,
            matched_events=replay.matches.events,
            entities=replay.matches.entities,
            marked=replay.marked,
            applied=replay.applied,
            waiting=replay.waiting,
            dead=replay.dead,
            superseded=replay.superseded,
        )


class ReplayList(BaseModel):
    """A page of replays, newest first."""

    replays: list[ReplayReport]
    next_cursor: str | None = Field(description="Where to go on; null at the end.")


class ReplayQuery(BaseModel):
    """Which page of the replays."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=_MAXIMUM_LIMIT)
    cursor: str | None = Field(None, description="`next_cursor` of the page before.")


_REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReplayBody"}}},
}


@router.post(
    PATH,
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
    content = await read_body(request.receive, limit_bytes=REPLAY_BYTES)
    require_json(read_headers(request.scope))
    claims = await operator.authorize(Scope.REPLAY_WRITE)
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
    replay = await services.replayer.replay(body.criteria, requested_by=claims.subject)
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
    openapi_extra={"parameters": describe_query(ReplayQuery)},
)
async def list_replays(
    request: Request, services: ServicesDependency, operator: Operator
) -> ReplayList:
    """Give the replays, newest first: who had what written again, and when.

    Needs `replay:write`.
    """
    await operator.authorize(Scope.REPLAY_WRITE)
    query = read_query(ReplayQuery, request.query_params.multi_items())
    before = None
    if query.cursor is not None:
        (before,) = read_cursor(query.cursor, "replays", numbers=1)
    page = await services.replayer.list(before, query.limit)
    return ReplayList(
        replays=[ReplayReport.of(replay, is_listed=True) for replay in page.replays],
        next_cursor=None
        if page.next_number is None
        else write_cursor((page.next_number,), "replays"),
    )


@router.get("/replay/{replay_id}", operation_id="getReplay", summary="Look up one replay")
async def get_replay(
    replay_id: Annotated[str, Path(json_schema_extra={"format": "uuid"})],
    services: ServicesDependency,
    operator: Operator,
) -> ReplayReport:
    """Give one replay and what has come of it so far. Needs `replay:write`."""
    await operator.authorize(Scope.REPLAY_WRITE)
    # What no replay is named is not looked for: PostgreSQL takes not every string.
    if re.fullmatch(UUID_PATTERN, replay_id) is None:
        raise ReplayNotFound
    return ReplayReport.of(await services.replayer.find(ReplayId(replay_id.lower())))


def write_filter(criteria: str) -> dict[str, Any]:
    """Write criteria, as they are stored, the way an operator asks for them."""
    # Earlier versions wrote down also what was not given.
    given: dict[str, Any] = {
        name: value for name, value in json.loads(criteria).items() if value not in (None, False)
    }
    for name in ("since", "until"):
        if name in given:
            given[name] = to_datetime(Instant(given[name])).isoformat().replace("+00:00", "Z")
    if "entity" in given:
        given["entity"] = dict(zip(("kind", "key"), given["entity"], strict=True))
    return given
