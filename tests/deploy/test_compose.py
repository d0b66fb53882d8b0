"""deploy/compose.yaml fits the compose specification, the relay's settings and the image."""

import re
from typing import Any, Final

import pytest
import yaml

from tests.deploy.manifests import CLOSE_SECONDS, DEPLOY, SETTINGS, SHUTDOWN_SECONDS, read_yaml
from tests.docs.pages import CHECKOUT

TEXT: Final = (DEPLOY / "compose.yaml").read_text()
SERVICES: Final[dict[str, Any]] = yaml.safe_load(TEXT)["services"]
VARIABLE: Final = re.compile(r"\$\{(?P<name>\w+):(?P<kind>[-?])(?P<word>[^}]*)\}")


def test_file_fits_the_specification_when_its_variables_are_set() -> None:
    specification = pytest.importorskip("compose_spec", reason="uv sync --group deploy")
    filled = VARIABLE.sub(lambda found: found["word"] if found["kind"] == "-" else "x", TEXT)
    assert "${" not in filled
    # The parser does not merge mappings (<<).
    parsed = specification.PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(filled)))
    assert set(parsed.service_names()) == set(SERVICES)


def test_secrets_have_no_default() -> None:
    required = {found["name"] for found in VARIABLE.finditer(TEXT) if found["kind"] == "?"}
    assert required == {
        "SUPABASE_URL",
        "SUPABASE_SECRET_KEY",
        "WEBHOOK_SECRETS",
        "POSTGRES_PASSWORD",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_read_only_without_capabilities_and_published_to_this_machine_only(
    name: str,
) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_relay_waits_for_its_store_and_has_the_time_that_a_stop_may_take() -> None:
    relay = SERVICES["relay"]
    assert relay["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert relay["init"] is True
    assert int(relay["stop_grace_period"].removesuffix("s")) >= SHUTDOWN_SECONDS + CLOSE_SECONDS


def test_variables_of_the_relay_are_settings_and_name_the_port_of_the_image() -> None:
    environment = SERVICES["relay"]["environment"]
    assert set(environment) <= SETTINGS
    assert f"EXPOSE {environment['PORT']}\n" in (CHECKOUT / "Dockerfile").read_text()
    assert SERVICES["relay"]["ports"][0].endswith(f":{environment['PORT']}")
    user, database = (
        SERVICES["postgres"]["environment"][f"POSTGRES_{each}"] for each in ("USER", "DB")
    )
    assert re.fullmatch(
        rf"postgresql://{user}:\$\{{POSTGRES_PASSWORD:\?[^}}]*\}}@postgres/{database}",
        environment["STORE_URL"],
    )


def test_prometheus_scrapes_the_relay_and_loads_the_rules() -> None:
    configuration = read_yaml("prometheus/prometheus.yml")
    (job,) = configuration["scrape_configs"]
    (discovery,) = job["dns_sd_configs"]
    assert discovery["names"] == ["relay"]
    assert discovery["port"] == SERVICES["relay"]["environment"]["PORT"]
    for name in configuration["rule_files"]:
        assert read_yaml(f"prometheus/{name}")["groups"]


def test_mounted_files_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in yaml.safe_load(TEXT)["volumes"] or (DEPLOY / source).exists(), source
    provider = read_yaml("grafana/provisioning/dashboards/relay.yaml")["providers"][0]
    mounted = [each.split(":")[1] for each in SERVICES["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/relay.json" in mounted
