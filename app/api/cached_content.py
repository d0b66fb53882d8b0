"""Responses that are the same for every request, and that clients may keep and revalidate."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request, Response

_HEADERS: Final = {
    # An upgrade shows at once: clients ask each time, and a 304 has no body.
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class CachedContent:
    """The bytes of a response.

    Attributes:
        headers: more headers, such as a policy.
    """

    body: bytes
    media_type: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def respond(self, request: Request) -> Response:
        """Make the response: 304 if the client has these bytes, else 200."""
        tag = f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'
        headers = {**_HEADERS, **self.headers, "ETag": tag}
        if _matches(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers=headers, media_type=self.media_type)


def _matches(condition: str, tag: str) -> bool:
    """Compare weakly, as RFC 9110, 13.1.2 says: proxies that compress weaken a tag."""
    known = [each.strip().removeprefix("W/") for each in condition.split(",")]
    return tag in known or known == ["*"]
