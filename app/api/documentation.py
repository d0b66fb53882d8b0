"""`GET /`, `/openapi.json`, `/docs` and `/docs/problems`: the relay's documentation of itself.

All of it is open, and the same for everybody: it is made of the code, never of settings or data.
The endpoints are synchronous, so that a page is made in a thread while events are received.
"""

import json
from functools import cached_property
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from app.api.cached_content import CachedContent
from app.api.health import VERSION
from app.api.html_pages import make_page
from app.api.problem_guide import list_problem_guides
from app.api.problems import GUIDE_PATH
from app.api.reference import list_operation_groups

INDEX_PATH: Final = "/"
OPENAPI_PATH: Final = "/openapi.json"
REFERENCE_PATH: Final = "/docs"

_LINK: Final = (
    f'<{OPENAPI_PATH}>; rel="service-desc", <{REFERENCE_PATH}>; rel="service-doc",'
    ' </health>; rel="status"'
)
"""The same links by RFC 8631."""

router = APIRouter(tags=["documentation"])


class Index(BaseModel):
    """The relay's version and its open paths."""

    name: str
    version: str
    docs: str = Field(default=REFERENCE_PATH, description="The reference of the HTTP API.")
    problems: str = Field(default=GUIDE_PATH, description="What each problem means.")
    openapi: str = Field(default=OPENAPI_PATH, description="The OpenAPI document.")
    health: str = "/health"
    metrics: str = "/metrics"


class Documentation:
    """The documentation of an application; each part is made at its first request."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @cached_property
    def index(self) -> CachedContent:
        """The index for programs."""
        headers = {"Link": _LINK, "Vary": "Accept"}
        body = Index(name=self._app.title, version=VERSION).model_dump_json().encode()
        return CachedContent(body, "application/json", headers)

    @cached_property
    def index_page(self) -> CachedContent:
        """The index for browsers."""
        headers = {"Link": _LINK, "Vary": "Accept"}
        return make_page("index.html", headers)

    @cached_property
    def openapi(self) -> CachedContent:
        """The OpenAPI document."""
        return CachedContent(json.dumps(self._app.openapi()).encode(), "application/json")

    @cached_property
    def reference(self) -> CachedContent:
        """The OpenAPI document as a page."""
        document = self._app.openapi()
        return make_page(
            "reference.html", document=document, groups=list_operation_groups(document)
        )

    @cached_property
    def problems(self) -> CachedContent:
        """Every problem."""
        return make_page("problems.html", problems=list_problem_guides())


def _get_documentation(request: Request) -> Documentation:
    return cast(Documentation, request.app.state.documentation)


DocumentationDependency = Annotated[Documentation, Depends(_get_documentation)]


@router.head(INDEX_PATH, include_in_schema=False)
@router.get(
    INDEX_PATH,
    operation_id="getIndex",
    summary="Get the version and the open paths",
    response_model=Index,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def get_index(request: Request, documentation: DocumentationDependency) -> Response:
    """JSON, or a page for a client that accepts `text/html`."""
    is_browser = "text/html" in request.headers.get("accept", "")
    return (documentation.index_page if is_browser else documentation.index).respond(request)


@router.head(OPENAPI_PATH, include_in_schema=False)
@router.get(
    OPENAPI_PATH,
    operation_id="getOpenapi",
    summary="Get the OpenAPI document",
    responses={200: {"content": {"application/json": {"schema": {"type": "object"}}}}},
)
def get_openapi(request: Request, documentation: DocumentationDependency) -> Response:
    """OpenAPI 3.1. It has an ETag: a request with `If-None-Match` gets a 304 until an upgrade."""
    return documentation.openapi.respond(request)


@router.head(REFERENCE_PATH, include_in_schema=False)
@router.get(
    REFERENCE_PATH,
    operation_id="getReference",
    summary="Read the reference of the HTTP API",
    response_class=HTMLResponse,
)
def get_reference(request: Request, documentation: DocumentationDependency) -> Response:
    """Every operation with its parameters, bodies, responses and examples. No JavaScript."""
    return documentation.reference.respond(request)


@router.head(GUIDE_PATH, include_in_schema=False)
@router.get(
    GUIDE_PATH,
    operation_id="getProblems",
    summary="Read what each problem means",
    response_class=HTMLResponse,
)
def get_problems(request: Request, documentation: DocumentationDependency) -> Response:
    """Where the `type` of every problem leads: cause and remedy of each `code`."""
    return documentation.problems.respond(request)
