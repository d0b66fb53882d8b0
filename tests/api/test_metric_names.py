"""Names, units and help of all metrics, as a relay serves them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Final

import pytest

from tests.api.relay_harness import RelayStarter
from tests.docs.pages import CHECKOUT
from tests.server.served import serve

# Base units, and what is counted. Source: https://prometheus.io/docs/practices/naming/.
_UNITS: Final = (
    "seconds",
    "bytes",
    "entities",
    "accounts",
    "rows",
    "webhooks",
    "connections",
    "fds",
    "info",
)
# 1 or 0.
_STATES: Final = {"relay_up", "relay_leader", "relay_circuit_breaker_open"}


@pytest.fixture
def exposition(starter: RelayStarter) -> Iterator[str]:
    with serve(starter) as served:
        yield served.read_metrics()


def read_types(exposition: str) -> dict[str, str]:
    """Read the type of each metric."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))
    assert {"relay_up", "relay_connections", "python_info"} <= types.keys()
    return types


def test_metric_has_help_in_sentences(exposition: str) -> None:
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", exposition, re.MULTILINE))
    assert helps.keys() == read_types(exposition).keys()
    ours = [text for name, text in helps.items() if name.startswith("relay_")]
    assert [text for text in ours if not text.endswith(".")] == []


def test_metric_names_its_unit_and_counters_end_in_total(exposition: str) -> None:
    for name, kind in read_types(exposition).items():
        assert re.fullmatch(r"(relay|process|python)(_[a-z]+)+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        if kind != "counter" and name not in _STATES:
            assert name.endswith(tuple(f"_{unit}" for unit in _UNITS)), name
        if kind == "histogram":
            assert name.endswith("_seconds"), name


def test_metric_is_on_the_page(exposition: str) -> None:
    page = (CHECKOUT / "docs" / "reference" / "metrics.md").read_text()
    assert [name for name in read_types(exposition) if f"`{name}`" not in page] == []


def test_metrics_pass_the_lint_of_prometheus(exposition: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on this machine; on Debian it comes with prometheus")
    done = subprocess.run(  # noqa: S603
        [promtool, "check", "metrics"],
        input=exposition,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
