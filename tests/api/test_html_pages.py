"""The pages of a relay: no script, nothing that is loaded, no broken link."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from app.api.cached_content import CachedContent
from app.api.documentation import Documentation
from app.api.html_pages import make_page
from app.api.reference import list_operation_groups
from app.api.routes import create_api
from app.api.templating import TEMPLATES
from tests.html_page import Page
from tests.supabase.test_migration_files import build_wheel

CHECKOUT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def documentation() -> Documentation:
    app = create_api()
    documentation: Documentation = app.state.documentation
    return documentation


PAGES: Final = ("index_page", "reference", "problems")


@pytest.fixture(params=PAGES)
def content(documentation: Documentation, request: pytest.FixtureRequest) -> CachedContent:
    content: CachedContent = getattr(documentation, request.param)
    return content


def read_page(content: CachedContent) -> Page:
    return Page(content.body.decode())


def test_page_has_no_script_and_loads_nothing(content: CachedContent) -> None:
    for tag, given in read_page(content).elements:
        assert tag not in ("script", "img", "iframe", "form", "object", "base"), tag
        assert not any(name == "style" or name.startswith("on") for name in given), given
        assert "src" not in given
        if tag == "link":
            assert given == {"rel": "icon", "href": "data:,"}
        elif "href" in given:
            assert given["href"].startswith(("/", "#", "https://www.rfc-editor.org/")), given


def test_policy_of_a_page_allows_its_style_only(content: CachedContent) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in content.headers["Content-Security-Policy"].split(";")
    )
    (style,) = re.findall(r"<style>(.*?)</style>", content.body.decode(), re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert content.headers["Referrer-Policy"] == "no-referrer"
    assert content.media_type == "text/html; charset=utf-8"


def test_page_has_a_title_a_language_and_ids_of_their_own(content: CachedContent) -> None:
    page = read_page(content)
    assert ("html", {"lang": "en"}) in page.elements
    assert re.search(r"<title>[^<]+</title>", page.html)
    counts = Counter(page.list_values("id"))
    assert [name for name, count in counts.items() if count > 1] == []


def test_links_within_the_pages_lead_to_a_place(documentation: Documentation) -> None:
    pages = {
        "/": read_page(documentation.index_page),
        "/docs": read_page(documentation.reference),
        "/docs/problems": read_page(documentation.problems),
    }
    for path, page in pages.items():
        for link in page.list_values("href"):
            target, _, anchor = link.partition("#")
            if anchor:
                assert anchor in set(pages[target or path].list_values("id")), link
            elif target.startswith("/"):
                assert target in {*pages, "/openapi.json", "/health", "/metrics", "/console"}, link


def test_reference_shows_the_whole_document(documentation: Documentation) -> None:
    document = create_api().openapi()
    page = read_page(documentation.reference)
    ids = set(page.list_values("id"))
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= ids
    assert {f"scheme-{name}" for name in document["components"]["securitySchemes"]} <= ids
    for path, item in document["paths"].items():
        for method, operation in item.items():
            article = cut_article(page, operation["operationId"])
            assert f"{method.upper()}</span> <code>{path}</code>" in article
            assert operation["summary"] in article
            for parameter in operation.get("parameters", ()):
                assert f"<code>{parameter['name']} ({parameter['in']})</code>" in article
            for status in operation["responses"]:
                assert f'<span class="status">{status}</span>' in article
            for schema in find_references(operation):
                assert f'<a href="#schema-{schema}">' in article
    for schema in document["components"]["schemas"].values():
        for name in schema.get("properties", ()):
            assert f"<code>{name}</code>" in cut_article(page, f"schema-{schema['title']}")


def cut_article(page: Page, name: str) -> str:
    return page.html.partition(f'<article id="{name}">')[2].partition("</article>")[0]


def find_references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(reference)}:
            yield reference.rpartition("/")[2]
        case dict():
            for each in value.values():
                yield from find_references(each)
        case list():
            for each in value:
                yield from find_references(each)
        case _:
            pass


def test_reference_shows_examples(documentation: Documentation) -> None:
    article = cut_article(read_page(documentation.reference), "postWebhook")
    assert "&#34;type&#34;: &#34;membership.created&#34;" in article
    assert "&#34;status&#34;: &#34;accepted&#34;" in article


def test_code_of_a_problem_in_the_reference_is_a_link(documentation: Documentation) -> None:
    article = cut_article(read_page(documentation.reference), "postReplay")
    assert '<a href="/docs/problems#scope-missing"><code>scope-missing</code></a>' in article


def test_text_of_the_document_is_escaped() -> None:
    document = create_api().openapi()
    document["info"]["description"] = "<script>alert(1)</script> `<b>` & more\n\nNext."
    page = make_page("reference.html", document=document, groups=list_operation_groups(document))
    html = page.body.decode()
    assert (
        "<p>&lt;script&gt;alert(1)&lt;/script&gt; <code>&lt;b&gt;</code> &amp; more</p>\n"
        "<p>Next.</p>" in html
    )
    assert "<script" not in html


def test_wheel_holds_every_template(tmp_path: Path) -> None:
    shipped = build_wheel(CHECKOUT, tmp_path) / "app" / "api" / "templates"
    assert {path.name: path.read_bytes() for path in shipped.iterdir()} == {
        path.name: path.read_bytes() for path in TEMPLATES.iterdir()
    }
