"""Renders the console's pages."""

import asyncio
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request, Response
from markupsafe import Markup

from app.api.templating import make_environment
from app.console.assets import locate_asset
from app.console.session import Session
from app.domain.instants import from_seconds, to_datetime
from app.domain.wording import count, write_duration

if TYPE_CHECKING:
    from jinja2 import Environment

NAVIGATION: Final = (
    ("now", "/console", "Now"),
    ("revocations", "/console/revocations", "Revocations"),
    ("dead", "/console/dead", "Dead"),
    ("events", "/console/events", "Events"),
    ("access", "/console/access", "Who can read?"),
    ("drift", "/console/drift", "Drift"),
)
"""The name, path and title of each view."""

_TEMPLATES: Final = Path(__file__).with_name("templates")
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    # Not no-referrer: browsers would send `Origin: null` with forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def render(
    request: Request,
    template: str,
    session: Session | None,
    *,
    view: str = "",
    status: int = 200,
    **values: Any,
) -> Response:
    """Make the response that shows a page.

    Args:
        template: extends `layout.html`.
        session: None on pages that need none.
        view: the name of the view in `NAVIGATION`.
        values: more values of the template, which has `now`, the relay's time.
    """
    now = read_now(request)
    html = render_fragment(template, now, session=session, view=view, **values)
    return Response(html, status, HEADERS, "text/html; charset=utf-8")


def render_fragment(template: str, now: datetime, **values: Any) -> str:
    """Render a template.

    Args:
        now: the end of relative times.
    """
    return _load_templates().get_template(template).render(now=now, **values)


async def prepare_templates() -> None:
    """Import Jinja and compile the templates, in a thread: both take longer than an event may."""
    if not _load_templates.cache_info().currsize:
        await asyncio.to_thread(_load_templates)


def read_now(request: Request) -> datetime:
    """Return the relay's time."""
    return to_datetime(from_seconds(request.app.state.services.clock()))


@cache
def _load_templates() -> "Environment":
    from jinja2 import pass_context

    environment = make_environment(_TEMPLATES)
    environment.globals |= {"asset": locate_asset, "navigation": NAVIGATION}
    environment.filters |= {
        "ago": pass_context(lambda context, moment: _write_ago(moment, context["now"])),
        "count": count,
        "duration": write_duration,
        "state": lambda state: "OK" if state == "ok" else state.capitalize(),
        "time": _write_time,
        "exact": _write_exact,
    }
    for name in environment.list_templates():
        environment.get_template(name)
    return environment


def _write_time(moment: datetime) -> Markup:
    """Write a moment in UTC, to the second."""
    return _mark_time(moment, f"{moment:%Y-%m-%d %H:%M:%S}")


def _write_exact(moment: datetime) -> Markup:
    """Write a moment in UTC, to the millisecond."""
    milliseconds = moment.microsecond // 1000
    return _mark_time(moment, f"{moment:%Y-%m-%d %H:%M:%S}.{milliseconds:03} UTC")


def _write_ago(moment: datetime, now: datetime) -> Markup:
    """Write a moment as its distance from now."""
    seconds = (now - moment).total_seconds()
    distance = write_duration(abs(seconds))
    return _mark_time(moment, f"in {distance}" if seconds < 0 else f"{distance} ago")


def _mark_time(moment: datetime, text: str) -> Markup:
    exact = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(exact, text)
