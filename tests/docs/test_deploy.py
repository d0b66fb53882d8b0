"""docs/guides/deploy.md: its commands fit the Dockerfile and deploy/."""

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


def test_kubernetes_commands_create_the_secret_that_the_pods_read_and_apply_an_overlay() -> None:
    create, apply = read_region("sh/deploy.sh#kubernetes").splitlines()
    assert create.split()[:5] == ["kubectl", "create", "secret", "generic", "relay"]
    assert (CHECKOUT / apply.split()[-1] / "kustomization.yaml").exists()


def test_compose_command_names_the_file() -> None:
    command = read_region("sh/deploy.sh#compose").split()
    assert (CHECKOUT / command[command.index("-f") + 1]).exists()
