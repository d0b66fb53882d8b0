"""The permissions of a store's files."""

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.domain.errors import ConfigurationInvalid
from app.store.private_files import open_private
from app.store.schema_upgrade import upgrade_store
from app.store.store import Store
from app.store.store_copy import copy_store
from tests.histories import NOW, World

WORLD = World()


@pytest.fixture(params=[0o022, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def read_modes(folder: Path) -> dict[str, str]:
    return {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}


@pytest.mark.usefixtures("umask")
async def test_store_is_made_of_files_that_only_the_owner_reads(store_path: Path) -> None:
    store = await Store.open(f"sqlite:///{store_path}")
    await store.store_events([WORLD.user("created")], NOW)
    assert read_modes(store_path.parent) == dict.fromkeys(
        ("relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"), "0o600"
    )
    await store.close()


@pytest.mark.usefixtures("umask")
def test_store_behind_a_link_that_leads_nowhere_yet_is_private(
    tmp_path: Path, store_path: Path
) -> None:
    store_path.symlink_to(tmp_path / "elsewhere.db")
    upgrade_store(f"sqlite:///{store_path}")
    assert read_modes(tmp_path)["elsewhere.db"] == "0o600"


@pytest.mark.usefixtures("umask")
async def test_copy_of_a_store_is_private(tmp_path: Path, store_path: Path) -> None:
    upgrade_store(f"sqlite:///{store_path}")
    target = tmp_path / "copy" / "copy.db"
    target.parent.mkdir()
    copy_store(f"sqlite:///{store_path}", f"sqlite:///{target}", report=lambda *_: None)
    assert set(read_modes(target.parent).values()) == {"0o600"}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602])
async def test_store_that_others_may_read_or_write_is_named_with_the_fix_and_opens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    path = tmp_path / "the store.db"
    url = f"sqlite:///{path}"
    upgrade_store(url)
    set_mode(path, mode)
    store = await Store.open(url)
    await store.store_events([WORLD.user("created")], NOW)
    (warning,) = read_warnings(caplog)
    assert f"{path}, {path}-wal, {path}-shm; run `chmod 600 " in warning
    follow(warning)
    await store.close()
    caplog.clear()
    await (await Store.open(url)).close()
    assert read_warnings(caplog) == []


async def test_store_whose_lock_alone_is_open_to_others_is_named(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can open the lock can hold it, and keep the relay from starting."""
    url = f"sqlite:///{store_path}"
    upgrade_store(url)
    set_mode(Path(f"{store_path}.lock"), 0o644)
    await (await Store.open(url)).close()
    (warning,) = read_warnings(caplog)
    assert warning.endswith(f"run `chmod 600 {store_path}.lock`")


def set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)


def follow(warning: str) -> None:
    """Run the command of a warning in a shell."""
    subprocess.run(warning.split("`")[1], shell=True, check=True)  # noqa: S602


def read_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "app.store.store" and record.levelno == logging.WARNING
    ]


async def test_store_that_cannot_be_created_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "relay.db").mkdir()
    with pytest.raises(ConfigurationInvalid, match="STORE_URL cannot be opened"):
        await Store.open(f"sqlite:///{tmp_path / 'relay.db'}")


@pytest.mark.usefixtures("umask")
def test_private_file_that_exists_keeps_its_mode_and_its_content(tmp_path: Path) -> None:
    path = tmp_path / "rejects.ndjson"
    path.write_bytes(b"1\n")
    path.chmod(0o640)
    with open_private(path, "ab") as file:
        file.write(b"2\n")
    assert (path.read_bytes(), read_modes(tmp_path)) == (b"1\n2\n", {path.name: "0o640"})
