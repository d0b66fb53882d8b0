"""Builds the image without a daemon and without a registry, and mounts it.

The base is a stand-in for python:3.13-slim, which only a registry has: the Debian of this machine,
with its Python. Everything is in one folder under /var/tmp, which is removed afterwards.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.docs.pages import CHECKOUT

PROGRAMS: Final = ("buildah", "runc", "mmdebstrap")
_BASE: Final = "localhost/python-stand-in"
_IMAGE: Final = "localhost/relay"
# The name of a release is the same in the archive for all Debians; others need other mirrors.
_RELEASE: Final = Path("/etc/os-release")
_PACKAGES: Final = "python3,python3-venv,ca-certificates"
_CERTIFICATES: Final = "/etc/ssl/certs"


@dataclass(frozen=True, slots=True)
class Image:
    """A built image.

    Attributes:
        root: its root file system, mounted.
        config: as in the image: Env, User, Entrypoint, Cmd, Healthcheck, Labels.
        folder: for the bundles and the data of containers.
    """

    root: Path
    config: Mapping[str, Any]
    folder: Path


def find_obstacle() -> str | None:
    """Say why the image cannot be built on this machine; None if it can."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"{' and '.join(missing)} is not installed"
    if os.geteuid() != 0:
        return "only root can build the stand-in for the base image"
    unshare = ["unshare", "--mount", "--pid", "--fork", "true"]
    if subprocess.run(unshare, capture_output=True, check=False).returncode:  # noqa: S603
        return "this user may not create namespaces"
    if _read_release().get("ID") != "debian":
        return "the stand-in for the base image needs a Debian"
    return None


@contextmanager
def build_image() -> Iterator[Image]:
    """Build the image and mount it until the block ends."""
    # On a disk: the storage needs gigabytes.
    folder = Path(tempfile.mkdtemp(prefix="relay-image-", dir="/var/tmp"))
    try:
        _build_base(folder)
        arguments = ["--build-arg", f"PYTHON={_BASE}", "--build-arg", "VERSION=1.2.3"]
        _buildah(folder, "build", *_BUILD, *arguments, "--tag", _IMAGE, str(CHECKOUT))
        shown = json.loads(_buildah(folder, "inspect", "--type", "image", _IMAGE))
        container = _buildah(folder, "from", "--pull-never", _IMAGE).strip()
        root = Path(_buildah(folder, "mount", container).strip())
        yield Image(root, shown["Docker"]["config"], folder)
        _buildah(folder, "umount", container)
    finally:
        shutil.rmtree(folder)


# HEALTHCHECK is part of Docker's format only. The network is for the package index, and the
# machine's certificates may have an authority that the stand-in lacks.
_BUILD: Final = (
    *("--isolation", "chroot", "--network", "host", "--format", "docker", "--pull-never"),
    *("--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"),
)


def _build_base(folder: Path) -> None:
    context = folder / "base"
    context.mkdir()
    codename = _read_release()["VERSION_CODENAME"]
    options = ["--quiet", "--variant=minbase", f"--include={_PACKAGES}"]
    _run(["mmdebstrap", *options, codename, str(context / "base.tar")])
    (context / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
    _buildah(folder, "build", *_BUILD, "--tag", _BASE, str(context))
    (context / "base.tar").unlink()


def _buildah(folder: Path, *arguments: str) -> str:
    # vfs works on every file system and leaves nothing mounted.
    storage = ("--root", f"{folder}/storage", "--runroot", f"{folder}/run")
    return _run(["buildah", *storage, "--storage-driver", "vfs", *arguments])


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-4000:]}")
    return done.stdout


def _read_release() -> Mapping[str, str]:
    if not _RELEASE.exists():
        return {}
    pairs = (line.partition("=") for line in _RELEASE.read_text().splitlines())
    return {name: value.strip('"') for name, _, value in pairs}
