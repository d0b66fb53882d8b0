"""`/reconcile`: check that Supabase equals the desired state, and repair it."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request

from app.api.cursors import read_cursor, write_cursor
from app.api.dependencies import (
    EventAccess,
    ServicesDependency,
    UniqueParameters,
    require_scope,
)
from app.api.filters import PageQuery
from app.api.problems import OPERATOR_ERRORS, REQUEST_ERRORS, describe_problems
from app.api.reconcile_bodies import (
    DifferenceBody,
    DifferenceList,
    DifferenceQuery,
    ReconcileBody,
    ReconcileList,
    ReconcileReport,
)
from app.api.request_body import EVENT_BYTES, parse_body, read_json_body
from app.api.services import Services
from app.auth.claims import Scope
from app.domain.contract import UUID_PATTERN
from app.domain.drift import ReconcileId, ReconcileRequest
from app.domain.errors import InputInvalid, ReconciliationNotFound

router = APIRouter(tags=["reconcile"], responses=describe_problems(*OPERATOR_ERRORS))

PATH: Final = "/reconcile"
_Id = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


async def _read_content(request: Request) -> bytes:
    return await read_json_body(request, limit_bytes=EVENT_BYTES)


@router.post(
    PATH,
    operation_id="postReconcile",
    summary="Check Supabase for drift",
    status_code=202,
    responses=describe_problems(*REQUEST_ERRORS),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ReconcileBody"}}
            },
        }
    },
)
async def post_reconcile(
    # FastAPI would parse a body before it resolves the authorization.
    content: Annotated[bytes, Depends(_read_content)],
    request: Request,
    operator: EventAccess,
    services: ServicesDependency,
) -> ReconcileReport:
    """Compare Supabase with the desired state now, and repair it if asked.

    Needs `events:read`, and for a repair also `replay:write`.
    """
    body = parse_body(ReconcileBody, content)
    if body.repair:
        await require_scope(request, services, Scope.REPLAY_WRITE)
    reconciliation = await services.reconciler.request(
        ReconcileRequest(body.repair, body.max_removals, body.plan_id),
        requested_by=operator.subject,
    )
    return ReconcileReport.model_validate(reconciliation)


@router.get(
    PATH,
    operation_id="listReconciliations",
    summary="List checks for drift",
    responses=describe_problems(InputInvalid),
)
async def list_reconciliations(
    _: EventAccess,
    __: UniqueParameters,
    query: Annotated[PageQuery, Query()],
    services: ServicesDependency,
) -> ReconcileList:
    """List the latest 1,000 checks, newest first. Needs `events:read`."""
    return await read_reconciliations(services, query)


async def read_reconciliations(services: Services, query: PageQuery) -> ReconcileList:
    """Read a page of checks.

    Raises:
        InputInvalid: the cursor is not of this listing.
    """
    before = None
    if query.cursor is not None:
        (before,) = read_cursor(query.cursor, "reconciliations", length=1)
    page = await services.reconciler.list_reconciliations(before, query.limit)
    following = page.next_number
    return ReconcileList(
        reconciliations=[ReconcileReport.model_validate(each) for each in page.reconciliations],
        next_cursor=None if following is None else write_cursor((following,), "reconciliations"),
    )


@router.get(
    "/reconcile/{reconcile_id}",
    operation_id="getReconciliation",
    summary="Get a check for drift",
    responses=describe_problems(ReconciliationNotFound),
)
async def get_reconciliation(
    reconcile_id: _Id, _: EventAccess, services: ServicesDependency
) -> ReconcileReport:
    """Get a check and its result. Needs `events:read`."""
    return await read_reconciliation(services, reconcile_id)


async def read_reconciliation(services: Services, reconcile_id: str) -> ReconcileReport:
    """Read a check.

    Raises:
        ReconciliationNotFound: it does not exist.
    """
    found = await services.reconciler.find(_read_id(reconcile_id))
    return ReconcileReport.model_validate(found)


@router.get(
    "/reconcile/{reconcile_id}/differences",
    operation_id="listDifferences",
    summary="List what differs",
    responses=describe_problems(ReconciliationNotFound, InputInvalid),
)
async def list_differences(
    reconcile_id: _Id,
    _: EventAccess,
    __: UniqueParameters,
    query: Annotated[DifferenceQuery, Query()],
    services: ServicesDependency,
) -> DifferenceList:
    """List the differences of the newest check; those of earlier checks are not kept.

    Needs `events:read`.
    """
    return await read_differences(services, reconcile_id, query)


async def read_differences(
    services: Services, reconcile_id: str, query: DifferenceQuery
) -> DifferenceList:
    """Read a page of differences.

    Raises:
        ReconciliationNotFound: the check does not exist.
        InputInvalid: the cursor is not of this listing.
    """
    listing = f"differences {reconcile_id.lower()}"
    after = None
    if query.cursor is not None:
        (after,) = read_cursor(query.cursor, listing, length=1)
    page = await services.reconciler.list_differences(_read_id(reconcile_id), after, query.limit)
    following = page.next_position
    return DifferenceList(
        differences=[DifferenceBody.model_validate(each) for each in page.differences],
        next_cursor=None if following is None else write_cursor((following,), listing),
    )


def _read_id(text: str) -> ReconcileId:
    # PostgreSQL does not accept every string.
    if re.fullmatch(UUID_PATTERN, text) is None:
        raise ReconciliationNotFound
    return ReconcileId(text.lower())
