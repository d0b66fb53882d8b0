"""The view Drift: checks of Supabase against the desired state, and their repair."""

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel

from app.api.dependencies import ServicesDependency
from app.api.filters import PageQuery
from app.api.reconcile import read_differences, read_reconciliation, read_reconciliations
from app.api.reconcile_bodies import (
    DifferenceList,
    DifferenceQuery,
    PlanId,
    ReconcileReport,
)
from app.api.request_body import read_model
from app.api.services import Services
from app.auth.claims import Scope
from app.console.forms import ReplayForm, SessionForm
from app.console.page_route import ConsoleRoute
from app.console.pages import HEADERS, render
from app.console.session import ConsoleSession
from app.domain.drift import ReconcileRequest, ReconcileStatus
from app.domain.drift_text import EFFECTS, ORIGINS

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_PATH: Final = "/console/drift"


class ApprovedPlan(BaseModel):
    """The plan that a repair must find."""

    plan_id: PlanId


@router.get(_PATH)
async def show_drift(
    request: Request,
    session: ConsoleSession,
    services: ServicesDependency,
    query: Annotated[PageQuery, Query()],
) -> Response:
    """Show the newest check that has finished, and all checks."""
    page = await read_reconciliations(services, query)
    check, found = None, None
    if query.cursor is None:
        checks = page.reconciliations
        finished = (each for each in checks if each.status is not ReconcileStatus.RUNNING)
        check = next(finished, None)
        found = await _read_differences(services, check, DifferenceQuery())
    is_running = any(each.status is ReconcileStatus.RUNNING for each in page.reconciliations)
    return render(
        request,
        "drift.html",
        session,
        view="drift",
        page=page,
        is_first_page=query.cursor is None,
        is_running=is_running,
        check=check,
        found=found,
        effects=EFFECTS,
        origins=ORIGINS,
    )


@router.post(_PATH)
async def check_now(
    _: SessionForm, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Request a check that only looks, and lead to it."""
    return await _request(services, session, ReconcileRequest())


@router.get(_PATH + "/{reconcile_id}")
async def show_check(
    reconcile_id: str,
    request: Request,
    session: ConsoleSession,
    services: ServicesDependency,
    query: Annotated[DifferenceQuery, Query()],
) -> Response:
    """Show a check and its differences."""
    check = await read_reconciliation(services, reconcile_id)
    return render(
        request,
        "check.html",
        session,
        view="drift",
        check=check,
        found=await _read_differences(services, check, query),
        effects=EFFECTS,
        origins=ORIGINS,
    )


@router.get(_PATH + "/{reconcile_id}/repair")
async def confirm_repair(
    reconcile_id: str, request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Show what a repair would do, and ask for confirmation."""
    session.claims.require(Scope.REPLAY_WRITE)
    check = await read_reconciliation(services, reconcile_id)
    return render(
        request, "confirm_repair.html", session, view="drift", check=check, effects=EFFECTS
    )


@router.post(_PATH + "/repair")
async def repair(
    form: ReplayForm, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Check again and repair if exactly the approved plan is found, and lead to that check."""
    plan = read_model(ApprovedPlan, dict(form))
    return await _request(services, session, ReconcileRequest(repair=True, plan_id=plan.plan_id))


async def _request(
    services: Services, session: ConsoleSession, request: ReconcileRequest
) -> Response:
    check = await services.reconciler.request(request, requested_by=session.claims.subject)
    return RedirectResponse(f"{_PATH}/{check.reconcile_id}", 303, HEADERS)


async def _read_differences(
    services: Services, check: ReconcileReport | None, query: DifferenceQuery
) -> DifferenceList | None:
    """Read the differences of a check; None if it has none."""
    if check is None or not check.differences:
        return None
    return await read_differences(services, check.reconcile_id, query)
