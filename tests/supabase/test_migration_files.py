"""The SQL files of a checkout, of the wheel and of the image."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.demo.local_supabase import CHECKOUT
from app.supabase.migration_files import list_function_files, list_migrations
from supabase.generate import render_migrations

MIGRATIONS = CHECKOUT / "supabase" / "migrations"
FILES = {path.name: path.read_bytes() for path in MIGRATIONS.glob("*.sql")}


def read_copied() -> Sequence[str]:
    """Read which files the Dockerfile copies from the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", (CHECKOUT / "Dockerfile").read_text(), re.M)
    return [source for line in lines for source in line.split()[:-1]]


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the wheel, unpack it, and return its folder."""
    subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=project,
        check=True,
        capture_output=True,
        timeout=60,
    )
    (wheel,) = folder.glob("*.whl")
    unpacked = folder / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    return unpacked


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the files that the Dockerfile copies, and unpack it."""
    context = tmp_path_factory.mktemp("context")
    for source in read_copied():
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, context / source)
        else:
            shutil.copyfile(CHECKOUT / source, context / source)
    return build_wheel(context, tmp_path_factory.mktemp("image"))


def test_migrations_in_a_checkout_are_those_at_its_root_in_order() -> None:
    assert [path.name for path in list_migrations()] == sorted(FILES)
    assert list_migrations()[0].parent == MIGRATIONS


def test_function_files_are_only_the_functions() -> None:
    (path,) = list_function_files()
    assert path.name.endswith("_relay_functions.sql")


def test_generated_migrations_are_up_to_date() -> None:
    """`make migrations` writes them."""
    generated = render_migrations()
    assert {name: FILES[name].decode() for name in generated} == generated


def test_wheel_of_the_checkout_holds_every_migration(tmp_path: Path) -> None:
    assert read_shipped(build_wheel(CHECKOUT, tmp_path)) == FILES


def test_wheel_of_the_image_holds_every_migration(image: Path) -> None:
    assert read_shipped(image) == FILES


def read_shipped(wheel: Path) -> dict[str, bytes]:
    folder = wheel / "app" / "supabase" / "migrations"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_docker_context_holds_what_the_dockerfile_copies() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert {f"!{source}" for source in read_copied()} <= set(lines)


def run_sql_of_image(image: Path, folder: Path, *options: str) -> bytes:
    """Run `relay sql` with the files of the image alone."""
    script = (
        "import app.cli.relay, sys; print(app.cli.relay.__file__, file=sys.stderr);"
        f" app.cli.relay.main(['sql', *{options!r}])"
    )
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(image)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode().startswith(str(image))
    return done.stdout


def test_command_of_the_image_prints_the_files_of_the_package(image: Path, tmp_path: Path) -> None:
    wanted = (f"-- supabase/migrations/{name}\n".encode() + FILES[name] for name in sorted(FILES))
    assert run_sql_of_image(image, tmp_path, "--all") == b"".join(wanted)


def test_command_of_the_image_generates_policies(image: Path, tmp_path: Path) -> None:
    (tmp_path / "tables.toml").write_text('[chat_messages]\ntable = "messages"\n')

    printed = run_sql_of_image(image, tmp_path, "--tables", "tables.toml")

    assert b"function trip_access.broadcast_messages()" in printed
