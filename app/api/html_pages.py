"""HTML pages from the templates of this package, under a strict Content-Security-Policy.

A page is one response: its style is inline and allowed by its hash. It has no script and loads
nothing.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from app.api.cached_content import CachedContent
from app.api.problem_guide import list_problem_guides
from app.api.problems import locate_guide
from app.api.reference import (
    describe_limits,
    find_example,
    list_options,
    name_schema,
    write_value,
)
from app.api.templating import TEMPLATES, make_environment

if TYPE_CHECKING:
    from jinja2 import Environment


def make_page(
    template: str, more_headers: Mapping[str, str] | None = None, **values: Any
) -> CachedContent:
    """Make a page from a template."""
    style = "".join((TEMPLATES / name).read_text() for name in ("base.css", "style.css"))
    html = _load_templates().get_template(template).render(style=Markup(style), **values)  # noqa: S704
    digest = b64encode(sha256(style.encode()).digest()).decode()
    headers = {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}';"
        " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        **(more_headers or {}),
    }
    return CachedContent(html.encode(), "text/html; charset=utf-8", headers)


@cache
def _load_templates() -> "Environment":
    environment = make_environment(TEMPLATES)
    environment.filters |= {
        "code": _write_code,
        "example": find_example,
        "indent_json": _indent_json,
        "limits": describe_limits,
        "options": list_options,
        "prose": _write_prose,
        "schema_name": name_schema,
        "value": write_value,
    }
    return environment


def _indent_json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _write_prose(text: str) -> Markup:
    """Write the Markdown that descriptions use: paragraphs and code. A problem's code is a link."""
    paragraphs = (_write_code(each) for each in text.strip().split("\n\n"))
    return Markup("\n").join(Markup("<p>{}</p>").format(each) for each in paragraphs)


def _write_code(text: str) -> Markup:
    codes = {each.code for each in list_problem_guides()}
    parts = []
    for index, part in enumerate(re.split(r"`([^`]*)`", text)):
        if index % 2 == 0:
            parts.append(escape(part))
        elif part in codes:
            link = Markup('<a href="{}"><code>{}</code></a>')
            parts.append(link.format(locate_guide(part), part))
        else:
            parts.append(Markup("<code>{}</code>").format(part))
    return Markup("").join(parts)
