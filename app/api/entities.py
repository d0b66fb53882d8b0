"""`GET /entities`: the desired state, to compare another database with it."""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from app.api.cursors import read_key_cursor, write_key_cursor
from app.api.dependencies import EventAccess, ServicesDependency, UniqueParameters
from app.api.filters import Id, Moment
from app.api.problems import OPERATOR_ERRORS, describe_problems
from app.domain.entities import Kind
from app.domain.errors import FieldError, InputInvalid
from app.store import entity_queries

router = APIRouter(tags=["events"], responses=describe_problems(*OPERATOR_ERRORS))

MAXIMUM_LIMIT: Final = 5000


class DesiredEntityBody(BaseModel):
    """An entity of the desired state. Its row may hold personal data, and is not shown."""

    model_config = ConfigDict(from_attributes=True)

    key: str = Field(description="The id, or `<trip_id>/<user_id>` of a membership.")
    version_at: Moment = Field(description="Timestamp of the desired version.")
    is_removed: bool = Field(description="Whether the desired state is a tombstone: no row.")
    digest: str | None = Field(
        description="Hex MD5 of the texts of the contract's fields, in the contract's order, joined"
        " by U+001F, null as `\\N`; null if there is no row."
    )


class DesiredEntityList(BaseModel):
    """A page of entities, in the byte order of their keys."""

    entities: list[DesiredEntityBody]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last one.")


class EntityQuery(BaseModel):
    """Which entities to list."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    limit: int = Field(1000, ge=1, le=MAXIMUM_LIMIT)
    cursor: str | None = Field(None, description="`next_cursor` of the previous page.")
    user_id: Id | None = Field(
        None, description="Only memberships of this user; with `kind=membership`."
    )


@router.get(
    "/entities",
    operation_id="listEntities",
    summary="List the desired state",
    responses=describe_problems(InputInvalid),
)
async def list_entities(
    _: EventAccess,
    __: UniqueParameters,
    query: Annotated[EntityQuery, Query()],
    services: ServicesDependency,
) -> DesiredEntityList:
    """List all entities of a kind with digests of their rows, removed ones too.

    Each page shows the state at its own time. Needs `events:read`.
    """
    user_id = query.user_id
    if user_id is not None and query.kind is not Kind.MEMBERSHIP:
        raise InputInvalid([FieldError("/query/user_id", "goes with kind=membership")])
    listing = f"entities {query.kind}" + (f" of {user_id}" if user_id else "")
    after = None if query.cursor is None else read_key_cursor(query.cursor, listing)
    if user_id is None:
        page = await services.store.search(
            entity_queries.read_entity_page, query.kind, after, query.limit
        )
    else:
        page = await services.store.search(
            entity_queries.read_memberships_of_user, user_id, after, query.limit
        )
    last_key = page.last_key
    return DesiredEntityList(
        entities=[DesiredEntityBody.model_validate(entity) for entity in page.entities],
        next_cursor=None if last_key is None else write_key_cursor(last_key, listing),
    )
