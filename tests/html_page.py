"""A reader of HTML pages."""

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from typing import Final

VOID: Final = {"meta", "link", "input", "br"}

Element = tuple[str, dict[str, str]]


class Page(HTMLParser):
    """Reads a page, and checks that its elements are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.elements: list[Element] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, self.getpos()

    @property
    def text(self) -> str:
        """The words of the page, separated by single spaces."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.html)).split())

    def list_values(self, name: str, *, tag: str | None = None) -> Iterator[str]:
        """List the values of an attribute, of every tag or of one."""
        return (
            given[name] for each, given in self.elements if tag in (None, each) and name in given
        )

    def read_fields(self) -> dict[str, str]:
        """Read the hidden fields of the forms."""
        return {
            given["name"]: given["value"]
            for tag, given in self.elements
            if tag == "input" and given.get("type") == "hidden"
        }
