"""The pages of the documentation: their code blocks, links, headings and snippets."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from docs.generate import CHECKOUT, DOCS, PAGES, SNIPPETS, read_region

__all__ = ["CHECKOUT", "DOCS", "GUIDES", "PAGES", "SNIPPETS", "read_region"]

GUIDES: Final = DOCS / "guides"

_BLOCK: Final = re.compile(
    r"(?:^<!-- snippet: (?P<source>\S+) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: as the fence names it.
        source: the snippet region it shows, `path#name`; None for text of its own.
        code: its lines.
    """

    language: str
    source: str | None
    code: str


def read_blocks(*pages: Path) -> Iterator[Block]:
    """Yield every fenced block."""
    for page in pages:
        for match in _BLOCK.finditer(page.read_text()):
            yield Block(match["language"], match["source"], textwrap.dedent(match["code"]))


def read_prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return _BLOCK.sub("", page.read_text())


def read_links(page: Path) -> list[tuple[str, str]]:
    """Return path and anchor of every relative link and image."""
    text = read_prose(page)
    targets = re.findall(r"\]\((?!https?://)([^)\s]+)\)", text)
    targets += re.findall(r'(?:src|srcset|href)="(?!https?://)([^"]+)"', text)
    return [(path, anchor) for path, _, anchor in (each.partition("#") for each in targets)]


def read_anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", read_prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
