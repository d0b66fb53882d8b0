"""docs/guides/deploy.md: its container command fits the Dockerfile."""

import re

from tests.docs.pages import CHECKOUT, read_region


def test_container_uses_the_volume_and_the_port_of_the_image() -> None:
    command = read_region("sh/deploy.sh#docker")
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    volume, port = re.search(r"-v [\w-]+:(\S+)", command), re.search(r":(\d+) --env-file", command)
    assert volume is not None
    assert port is not None
    assert f"VOLUME {volume[1]}\n" in dockerfile
    assert f"EXPOSE {port[1]}\n" in dockerfile
    assert f"STORE_URL=sqlite:///{volume[1]}/relay.db" in dockerfile
