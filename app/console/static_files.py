"""`GET /console/static/…`: the style and the scripts of the console.

Open to all: the pages of errors need them too.
"""

from typing import Final

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from app.console.assets import load_assets

router = APIRouter(include_in_schema=False)

_KEEP: Final = "public, max-age=31536000, immutable"


@router.get("/console/static/{digest}/{name}")
def get_asset(digest: str, name: str) -> Response:
    """Get a static file. Only of the right digest may it be kept: a replica may be older."""
    asset = load_assets().get(name)
    if asset is None:
        raise HTTPException(404)
    headers = {
        "Cache-Control": _KEEP if digest == asset.digest else "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(asset.content, headers=headers, media_type=asset.media_type)
