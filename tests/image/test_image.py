"""The image does what docs/guides/deploy.md says, under the rules of a strict platform.

Needs a Debian with buildah, runc and mmdebstrap, as root; builds the image once, in minutes.
"""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from app.cli.client.signing import make_body, sign_body
from tests.image.building import Image, build_image, find_obstacle
from tests.image.container import SECRET, Container
from tests.loopback import NO_TLS

_OBSTACLE = find_obstacle()
pytestmark = pytest.mark.skipif(_OBSTACLE is not None, reason=f"the image: {_OBSTACLE}")

MakeContainer = Callable[..., Container]


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with build_image() as image:
        yield image


@pytest.fixture
def make_volume(image: Image) -> Callable[[], Path]:
    """Make a volume as Docker does: with the owner and the mode of the image's /data."""

    def make() -> Path:
        volume = image.folder / f"volume-{uuid.uuid4()}"
        subprocess.run(["cp", "--archive", str(image.root / "data"), str(volume)], check=True)  # noqa: S603, S607
        return volume

    return make


@pytest.fixture
def make_container(image: Image, make_volume: Callable[[], Path]) -> Iterator[MakeContainer]:
    """Make containers that end with the test."""
    made: list[Container] = []

    def make(**options: object) -> Container:
        made.append(Container(image, **({"data": make_volume()} | options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for container in made:
        container.end()


def send(container: Container) -> str:
    """Send an event, and return its id."""
    user = {"id": str(uuid.uuid4()), "email": "a@example.com", "username": "a"}
    body = make_body("user.created", user, None)
    headers = dict(sign_body(SECRET, body))
    response = httpx.post(
        f"{container.url}/webhooks", content=body, headers=headers, trust_env=False, verify=NO_TLS
    )
    assert response.status_code == 202
    return headers["webhook-id"]


def count_pending(container: Container) -> int:
    return int(container.get("/health").json()["backlog"]["pending"])


def test_relay_in_a_container_accepts_keeps_its_data_and_stops_with_0(
    make_container: MakeContainer,
) -> None:
    first = make_container()
    first.start()
    first.await_that(first.is_ready)
    send(first)
    assert first.stop() == 0
    second = make_container(data=first.data)
    second.start()
    second.await_that(second.is_ready)
    assert count_pending(second) == 1
    assert second.stop() == 0


@pytest.mark.parametrize("user", [(1_000_650_000, 0), (12345, 0)])
def test_relay_runs_as_an_arbitrary_uid_of_group_0(
    make_container: MakeContainer, user: tuple[int, int]
) -> None:
    container = make_container(user=user)
    container.start()
    container.await_that(container.is_ready)
    send(container)
    assert container.stop() == 0


def test_uid_that_may_not_use_the_volume_gets_a_sentence(make_container: MakeContainer) -> None:
    container = make_container(user=(12345, 12345))
    assert container.run() == 2
    assert "Traceback" not in container.log
    # After the log's lines, wrapped.
    assert " ".join(container.log.split()).endswith(
        "relay: STORE_URL cannot be opened: /data: Permission denied for uid 12345, gid 12345"
    )


@pytest.mark.parametrize(
    ("environment", "options"),
    [({}, []), ({"HOST": "127.0.0.1"}, []), ({"HOST": "::"}, []), ({"PORT": "1"}, ["--port"])],
)
def test_health_check_of_the_image_finds_its_relay(
    make_container: MakeContainer, environment: dict[str, str], options: list[str]
) -> None:
    proxy = {"http_proxy": "http://192.0.2.1:3128", "HTTP_PROXY": "http://192.0.2.1:3128"}
    container = make_container(environment=environment | proxy)
    if options:
        container.command = ["serve", *options, str(container.port)]
    test = container.image.config["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    container.start()
    container.await_that(lambda: "listening on" in container.log)
    container.await_that(lambda: container.execute(*test[1:]).returncode == 0)
    # With the option, PORT names another.
    container.stop()


def test_relay_stopped_during_its_start_ends_at_once_with_0(
    make_container: MakeContainer,
) -> None:
    container = make_container()
    container.start()
    pid = find_first_process(container)
    container.await_that(lambda: "pydantic_core" in Path(f"/proc/{pid()}/maps").read_text())
    assert container.stop() == 0
    assert container.log == ""


def find_first_process(container: Container) -> Callable[[], int]:
    """Return what finds the container's PID 1, as the machine numbers it."""
    state = container.image.folder / "runc" / container.name / "state.json"
    container.await_that(lambda: state.exists() and state.read_text() != "")
    return lambda: int(json.loads(state.read_text())["init_process_pid"])


def test_sql_and_version_are_in_the_image(make_container: MakeContainer) -> None:
    sql = make_container(command=["sql", "--all"])
    assert sql.run() == 0
    assert "relay_apply" in sql.log
    assert "create policy" in sql.log.lower()
    version = make_container(command=["--version"])
    assert version.run() == 0
    assert version.log.startswith("relay ")


def test_image_has_nothing_that_installs_software(image: Image) -> None:
    names = {path.name for path in image.root.glob("opt/relay/lib/python3.*/site-packages/*")}
    assert "app" in names
    assert names & {"pip", "setuptools", "uv", "ecdsa", "rsa", "pyasn1", "tests"} == set()
    (library,) = image.root.glob("usr/lib/python3.*/")
    assert not (library / "ensurepip").exists()
    assert not (image.root / "opt" / "uv").exists()
    assert not (image.root / "src").exists()


def test_byte_code_of_the_relay_and_of_the_standard_library_is_in_the_image(image: Image) -> None:
    for pattern in (
        "opt/relay/lib/python3.*/site-packages/app/*.py",
        "usr/lib/python3.*/json/*.py",
    ):
        sources = list(image.root.glob(pattern))
        assert sources
        for source in sources:
            assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source


def test_image_names_its_user_by_number_and_describes_itself(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.base.name"] == "localhost/python-stand-in"
