"""Ways in which requests fail as a whole."""

from collections.abc import Callable
from typing import Final

import httpx

from tests.fake_postgrest import FakePostgrest
from tests.fake_wire import Picker

HTML: Final = b"<html><head><title>403 Forbidden</title></head><body>blocked</body></html>"
TIMEOUT: Final = {"code": "57014", "message": "canceling statement due to statement timeout"}

Break = Callable[[FakePostgrest, Picker], None]

WAYS_TO_FAIL: Final[dict[str, Break]] = {
    "statement timeout": lambda fake, of: fake.respond_with(500, TIMEOUT, of=of),
    "no answer": lambda fake, of: fake.break_connection(httpx.ReadTimeout, of=of),
    "reset": lambda fake, of: fake.break_connection(httpx.ReadError, of=of),
    "lost answer": lambda fake, of: fake.lose_responses(of=of),
    "HTML 403": lambda fake, of: fake.respond_with(403, HTML, of=of),
    "HTML 200": lambda fake, of: fake.respond_with(200, HTML, of=of),
    "JSON 403": lambda fake, of: fake.respond_with(403, {"message": "blocked"}, of=of),
    "413": lambda fake, of: fake.respond_with(413, b"", of=of),
    "502": lambda fake, of: fake.respond_with(502, HTML, of=of),
    "XX000": lambda fake, of: fake.respond_with(500, {"code": "XX000", "message": "x"}, of=of),
}
