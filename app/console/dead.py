"""The view Dead: dead entities by SQLSTATE and message, which names the constraint."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Request, Response

from app.api.dependencies import ServicesDependency
from app.console.event_filters import Given
from app.console.page_route import ConsoleRoute
from app.console.pages import render
from app.console.session import ConsoleSession
from app.domain.cause_guide import CauseGuide, find_cause_guide
from app.domain.entities import EntityState, Kind
from app.domain.history import DeadCause
from app.store import dead_queries

router = APIRouter(include_in_schema=False, route_class=ConsoleRoute)

_CAUSES: Final = 200


@dataclass(frozen=True, slots=True)
class Group:
    """The dead entities of one cause.

    Attributes:
        kinds: the number of entities by kind.
        removals: how many are removals.
        guide: None if the cause has no explanation.
        filters: select the group's events.
    """

    code: str
    message: str
    kinds: dict[Kind, int]
    removals: int
    guide: CauseGuide | None
    filters: Given

    @property
    def entities(self) -> int:
        """All of them."""
        return sum(self.kinds.values())


@router.get("/console/dead")
async def show_dead(
    request: Request, session: ConsoleSession, services: ServicesDependency
) -> Response:
    """Show the dead entities by cause, the most frequent first."""
    causes = await services.store.search(dead_queries.count_dead, _CAUSES)
    groups = _group(causes)
    counted = sum(group.entities for group in groups)
    return render(
        request,
        "dead.html",
        session,
        view="dead",
        groups=groups,
        counted=counted,
        removals=sum(group.removals for group in groups),
        examined=dead_queries.EXAMINED_ENTITIES,
        # More may be dead than were counted, or than have causes that are shown.
        is_all=counted < dead_queries.EXAMINED_ENTITIES and len(causes) < _CAUSES,
    )


def _group(causes: Iterable[DeadCause]) -> list[Group]:
    """Group causes of several kinds, which a replay selects together."""
    by_error: dict[tuple[str, str], list[DeadCause]] = {}
    for cause in causes:
        by_error.setdefault((cause.code, cause.message), []).append(cause)
    groups = [
        Group(
            code,
            message,
            {cause.kind: cause.entities for cause in of_error},
            sum(cause.removals for cause in of_error),
            find_cause_guide(code, message),
            {"status": EntityState.DEAD.value, "error_code": code, "error": message},
        )
        for (code, message), of_error in by_error.items()
    ]
    return sorted(groups, key=lambda group: -group.entities)
