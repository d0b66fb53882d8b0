"""What the server asks of uvicorn, before it serves anything."""

import pytest
import uvicorn.server

from app.domain.errors import ConfigurationInvalid
from app.server.limits import Limits
from app.server.server import RelayServer, require_uvicorn
from tests.api.running import RelayStarter


def test_uvicorn_of_the_lock_file_is_supported() -> None:
    require_uvicorn()


@pytest.mark.parametrize("name", ["connections", "tasks", "default_headers"])
def test_uvicorn_without_what_the_protocol_needs_is_refused_at_start(
    starter: RelayStarter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class OtherState(uvicorn.server.ServerState):
        def __init__(self) -> None:
            super().__init__()
            delattr(self, name)

    monkeypatch.setattr("app.server.server.ServerState", OtherState)
    with pytest.raises(ConfigurationInvalid, match=rf"uvicorn .* has no {name}"):
        RelayServer(starter.make_app(), limits=Limits(), shutdown_seconds=1)
