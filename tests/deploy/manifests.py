"""Reads the files of deploy/, and what the relay's own settings and API say about them."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.settings import Settings
from tests.docs.pages import CHECKOUT

DEPLOY: Final = CHECKOUT / "deploy"
SETTINGS: Final = {name.upper() for name in Settings.model_fields} | {"SUPABASE_SECRET_KEY"}
SHUTDOWN_SECONDS: Final = Settings.model_fields["shutdown_seconds"].default
# What the relay needs after SHUTDOWN_SECONDS, see docs/guides/deploy.md.
CLOSE_SECONDS: Final = 2


def read_yaml(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


def render_overlay(path: Path) -> Sequence[dict[str, Any]]:
    """Render a kustomization."""
    command = _find_kustomize()
    if command is None:
        pytest.skip("neither kubectl nor kustomize is installed")
    done = subprocess.run([*command, path], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _find_kustomize() -> Sequence[str] | None:
    if shutil.which("kubectl"):
        return ("kubectl", "kustomize")
    return ("kustomize", "build") if shutil.which("kustomize") else None


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in a document."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)
