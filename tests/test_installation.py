"""The wheel in an environment of its own, and in one that it shares."""

import os
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path

import pytest

from tests.docs.pages import CHECKOUT
from tests.supabase.test_migration_files import build_wheel


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Unpack the wheel, as an installer does."""
    return build_wheel(CHECKOUT, tmp_path)


def run(installed: Path, *arguments: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as its script does, outside of the checkout."""
    script = "import supabase_sync_relay; supabase_sync_relay.main()"
    return subprocess.run(  # noqa: S603
        # The folder of this file's checkout is not on the path.
        [sys.executable, "-P", "-c", script, *arguments],
        cwd=installed.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{first}{os.pathsep}{installed}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_command_of_the_wheel_runs(installed: Path) -> None:
    done = run(installed, "sql")
    assert (done.returncode, done.stderr) == (0, "")
    assert "relay_apply" in done.stdout


def test_command_with_an_app_that_is_imported_instead_says_so(
    installed: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "app" / "__init__.py"
    other.parent.mkdir(parents=True)
    other.touch()
    done = run(installed, "--version", first=str(tmp_path / "other"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "is not the relay's: another application" in done.stderr
    assert "pipx" in done.stderr


def test_command_with_a_file_that_another_application_overwrote_says_so(installed: Path) -> None:
    (installed / "app" / "main.py").write_text("application = None\n")
    done = run(installed, "serve")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "a part of `app` is not the relay's" in done.stderr
    assert "app.main" in done.stderr


def test_demo_of_the_wheel_says_how_to_get_a_checkout(installed: Path) -> None:
    done = run(installed, "demo", "--once")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        "relay: The local Supabase needs a checkout of the repository: clone it and run this there."
    )


def test_description_of_the_wheel_has_absolute_links_and_forbids_an_upload(installed: Path) -> None:
    (file,) = installed.glob("*.dist-info/METADATA")
    metadata = HeaderParser().parsestr(file.read_text())
    assert "Private :: Do Not Upload" in metadata.get_all("Classifier", [])
    description = str(metadata.get_payload())
    assert "](https://" in description
    assert "](" not in description.replace("](https://", "")
