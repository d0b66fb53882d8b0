"""The workflows of GitHub are valid and pinned, and agree with the project that they release."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.docs.pages import CHECKOUT

GITHUB: Final = CHECKOUT / ".github"
WORKFLOWS: Final = sorted((GITHUB / "workflows").glob("*.yml"))
PROJECT: Final[dict[str, Any]] = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
VERSION: Final = str(PROJECT["version"])


def test_workflows_are_accepted_by_actionlint() -> None:
    if shutil.which("actionlint") is None:
        pytest.skip("actionlint is not installed; .ci/run installs it where there is a Go")
    done = subprocess.run(  # noqa: S603
        ["actionlint", "-no-color", *WORKFLOWS],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_with_their_version(workflow: Path) -> None:
    lines = re.findall(r"uses: (\S+)(.*)", workflow.read_text())
    assert lines
    for action, comment in lines:
        if not action.startswith("./"):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action


def test_checks_run_on_every_python_that_the_project_names() -> None:
    checks = yaml.safe_load((GITHUB / "workflows" / "checks.yml").read_text())
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert checks["jobs"]["test"]["strategy"]["matrix"]["python"] == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_folders_of_dependabot_exist() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    for update in updates:
        assert (CHECKOUT / update["directory"].strip("/")).is_dir()


def test_release_publishes_the_notes_of_the_version_and_no_other() -> None:
    notes = print_notes(VERSION)
    assert notes.returncode == 0, notes.stderr
    assert "upgrade" in notes.stdout.lower()
    other = print_notes("9.9.9")
    assert other.returncode != 0
    assert "pyproject.toml has version" in other.stderr


def print_notes(version: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603
        [sys.executable, CHECKOUT / ".ci" / "release_notes.py", version],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_kubernetes_names_the_version() -> None:
    base = CHECKOUT / "deploy" / "kubernetes" / "base" / "kustomization.yaml"
    (image,) = yaml.safe_load(base.read_text())["images"]
    assert image["newTag"] == VERSION


def test_release_resolves_the_base_of_the_dockerfile() -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    base = re.search(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert base is not None
    release = (GITHUB / "workflows" / "release.yml").read_text()
    assert f"inspect {base[1]} " in release
    assert f"base={base[1]}@$digest" in release
