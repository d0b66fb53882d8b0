"""The style and the scripts of the console, at paths that change with their content."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from app.api.templating import TEMPLATES

_STATIC: Final = Path(__file__).with_name("static")
_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A static file."""

    content: bytes
    media_type: str
    digest: str


@cache
def load_assets() -> dict[str, Asset]:
    """Read the static files, by name."""
    assets = {}
    for path in _STATIC.iterdir():
        if path.suffix not in _MEDIA_TYPES:
            continue
        content = path.read_bytes()
        if path.name == "console.css":
            # The console and the pages of /docs look alike.
            content = (TEMPLATES / "base.css").read_bytes() + content
        digest = hashlib.sha256(content).hexdigest()[:16]
        assets[path.name] = Asset(content, _MEDIA_TYPES[path.suffix], digest)
    return assets


def locate_asset(name: str) -> str:
    """Return the path of a static file."""
    return f"/console/static/{load_assets()[name].digest}/{name}"
