"""What the server checks before it serves anything."""

import errno
import socket

import pytest
import uvicorn.server

from app.domain.errors import ConfigurationInvalid
from app.server.limits import Limits
from app.server.server import RelayServer, bind_sockets, check_uvicorn, describe_bind_error
from tests.api.relay_harness import RelayStarter


def test_uvicorn_of_the_lock_file_is_supported() -> None:
    check_uvicorn()


@pytest.mark.parametrize("name", ["connections", "tasks", "default_headers"])
def test_uvicorn_without_required_attributes_is_rejected_at_start(
    starter: RelayStarter, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    class OtherState(uvicorn.server.ServerState):
        def __init__(self) -> None:
            super().__init__()
            delattr(self, name)

    monkeypatch.setattr("app.server.server.ServerState", OtherState)
    with pytest.raises(ConfigurationInvalid, match=rf"uvicorn .* has no {name}"):
        RelayServer(starter.make_app(), limits=Limits(), shutdown_seconds=1)


def test_bind_on_a_port_in_use_is_described_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            bind_sockets("127.0.0.1", port)
    assert describe_bind_error("127.0.0.1", port, caught.value) == (
        f"port {port} of 127.0.0.1 is in use; stop the other process or set another PORT"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "name.invalid", "not a host"])
def test_bind_to_a_host_that_is_not_this_machine_names_the_settings(host: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its kind depends on the resolver
        bind_sockets(host, 0)
    sentence = describe_bind_error(host, 0, caught.value)
    assert sentence.startswith(f"cannot listen on {host}, port 0: ")
    assert "Errno" not in sentence
    assert "HOST" in sentence


def test_bind_without_privileges_names_the_setting() -> None:
    sentence = describe_bind_error("127.0.0.1", 80, PermissionError(errno.EACCES, "denied"))
    assert sentence == "port 80 needs privileges; set PORT to 1024 or more"


def test_bind_to_a_name_of_several_addresses_binds_each() -> None:
    sockets = bind_sockets("localhost", 0)
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", 0)}
    assert {each.getsockname()[0] for each in sockets} == addresses
    for each in sockets:
        each.close()
