"""deploy/kubernetes fits Kubernetes' schemas, the relay's settings and API, and the image."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.deploy.manifests import (
    CLOSE_SECONDS,
    DEPLOY,
    SETTINGS,
    SHUTDOWN_SECONDS,
    read_yaml,
    render_overlay,
    walk,
)
from tests.docs.pages import CHECKOUT

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = {"postgresql": "Deployment", "sqlite": "StatefulSet"}

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def read_overlay(name: str) -> Mapping[str, dict[str, Any]]:
    """Return the objects of an overlay by their kinds; each kind occurs once."""
    documents = render_overlay(KUBERNETES / name)
    objects = {document["kind"]: document for document in documents}
    assert len(objects) == len(documents)
    return objects


@every_overlay
def test_every_object_fits_the_schema_of_kubernetes(overlay: str) -> None:
    validation = pytest.importorskip("kubernetes_validate", reason="uv sync --group deploy")
    for document in read_overlay(overlay).values():
        validation.validate(document, "1.30", strict=True)


@every_overlay
def test_pod_is_held_to_the_restricted_standard_as_the_user_of_the_image(overlay: str) -> None:
    pod = read_overlay(overlay)[OVERLAYS[overlay]]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    assert f"USER {user}\n" in (CHECKOUT / "Dockerfile").read_text()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@every_overlay
def test_probes_ask_paths_of_the_api_and_liveness_never_judges_the_store(overlay: str) -> None:
    (container,) = read_overlay(overlay)[OVERLAYS[overlay]]["spec"]["template"]["spec"][
        "containers"
    ]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "liveness", "readiness")
    }
    assert paths == {
        "startup": "/health/live",
        "liveness": "/health/live",
        "readiness": "/health/ready",
    }
    openapi = (CHECKOUT / "openapi" / "openapi.json").read_text()
    assert all(f'"{path}"' in openapi for path in paths.values())
    (port,) = container["ports"]
    assert {probe["port"] for probe in find_http_gets(container)} == {port["name"]}
    assert f"EXPOSE {port['containerPort']}\n" in (CHECKOUT / "Dockerfile").read_text()
    assert {"name": "PORT", "value": str(port["containerPort"])} in container["env"]


def find_http_gets(container: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["httpGet"] for each in walk(container) if "httpGet" in each]


@every_overlay
def test_pod_is_killed_only_after_the_time_that_a_stop_may_take(overlay: str) -> None:
    objects = read_overlay(overlay)
    pod = objects[OVERLAYS[overlay]]["spec"]["template"]["spec"]
    data = objects["ConfigMap"]["data"]
    assert int(data["SHUTDOWN_SECONDS"]) == SHUTDOWN_SECONDS
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= before + SHUTDOWN_SECONDS + CLOSE_SECONDS


@every_overlay
def test_variables_are_settings(overlay: str) -> None:
    objects = read_overlay(overlay)
    (container,) = objects[OVERLAYS[overlay]]["spec"]["template"]["spec"]["containers"]
    names = {each["name"] for each in container["env"]} | set(objects["ConfigMap"]["data"])
    assert names <= SETTINGS
    # The generated name of the ConfigMap is the one that the pod reads, and the Secret wins.
    configuration, secret = container["envFrom"]
    assert configuration == {"configMapRef": {"name": objects["ConfigMap"]["metadata"]["name"]}}
    assert secret == {"secretRef": {"name": "relay"}}


@every_overlay
def test_service_and_monitor_select_the_pods_and_a_port_that_exists(overlay: str) -> None:
    objects = read_overlay(overlay)
    labels = objects[OVERLAYS[overlay]]["spec"]["template"]["metadata"]["labels"]
    (port,) = objects["Service"]["spec"]["ports"]
    monitor = read_yaml("kubernetes/monitoring/service_monitor.yaml")["spec"]
    assert objects["Service"]["spec"]["selector"] == labels
    assert (
        monitor["selector"]["matchLabels"].items()
        <= objects["Service"]["metadata"]["labels"].items()
    )
    assert [each["port"] for each in monitor["endpoints"]] == [port["name"]]
    assert [each["path"] for each in monitor["endpoints"]] == ["/metrics"]


def test_replicas_are_replaced_without_interruption_and_spread() -> None:
    objects = read_overlay("postgresql")
    spec = objects["Deployment"]["spec"]
    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    labels = spec["template"]["metadata"]["labels"]
    assert objects["PodDisruptionBudget"]["spec"]["minAvailable"] < spec["replicas"]
    assert objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert {each["topologyKey"] for each in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert all(each["labelSelector"]["matchLabels"] == labels for each in spread)


def test_relay_with_sqlite_is_one_and_keeps_its_store_on_a_volume() -> None:
    spec = read_overlay("sqlite")["StatefulSet"]["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    mounts = spec["template"]["spec"]["containers"][0]["volumeMounts"]
    assert spec["replicas"] == 1
    assert spec["serviceName"] == "relay"
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in mounts
    assert "STORE_URL=sqlite:////data/relay.db" in (CHECKOUT / "Dockerfile").read_text()
