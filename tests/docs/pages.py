"""The pages of the documentation: their code blocks, links, headings and snippets."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

CHECKOUT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = CHECKOUT / "docs"
SNIPPETS: Final = DOCS / "snippets"
GUIDES: Final = DOCS / "guides"
PAGES: Final = (
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    CHECKOUT / "benchmarks" / "README.md",
    *sorted(DOCS.rglob("*.md")),
)

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


def read_region(source: str) -> str:
    """Return a region of a snippet file: `path#name` is the text between its two comments."""
    path, _, name = source.partition("#")
    lines = (SNIPPETS / path).read_text().splitlines()
    starts = [n for n, line in enumerate(lines) if line.strip(" /#-") == f"region: {name}"]
    assert len(starts) == 1, f"{path} has {len(starts)} regions called {name}"
    start = starts[0] + 1
    end = next(n for n in range(start, len(lines)) if lines[n].strip(" /#-") == "endregion")
    return textwrap.dedent("\n".join(lines[start:end])).strip("\n") + "\n"


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
