"""What the server checks before it serves anything."""

import errno
import socket

import pytest

from app.server.server import bind_sockets, describe_bind_error, write_address


def test_bind_on_a_port_in_use_is_described_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match="in use") as caught:
            bind_sockets("127.0.0.1", port)
    assert describe_bind_error("127.0.0.1", port, caught.value) == (
        f"cannot listen on 127.0.0.1, port {port}: address already in use; check HOST and PORT"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "name.invalid", "not a host"])
def test_bind_to_a_host_that_is_not_this_machine_names_the_settings(host: str) -> None:
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its kind depends on the resolver
        bind_sockets(host, 0)
    sentence = describe_bind_error(host, 0, caught.value)
    assert sentence.startswith(f"cannot listen on {host}, port 0: ")
    assert "Errno" not in sentence
    assert "HOST" in sentence


def test_bind_without_privileges_names_the_settings() -> None:
    error = PermissionError(errno.EACCES, "Permission denied")
    sentence = describe_bind_error("127.0.0.1", 80, error)
    assert sentence == "cannot listen on 127.0.0.1, port 80: permission denied; check HOST and PORT"


def test_bind_to_a_name_of_several_addresses_binds_each() -> None:
    sockets = bind_sockets("localhost", 0)
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", 0)}
    assert {each.getsockname()[0] for each in sockets} == addresses
    for each in sockets:
        each.close()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_address_of_a_listener_is_a_url(host: str, shown: str) -> None:
    try:
        (listener,) = bind_sockets(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    with listener:
        assert write_address(listener) == f"http://{shown}:{listener.getsockname()[1]}"
