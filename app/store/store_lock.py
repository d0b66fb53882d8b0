"""The lock that keeps a second relay off a SQLite file.

Two relays on one file would both dispatch and take the fence in Supabase from each other for ever.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from app.domain.errors import ConfigurationInvalid
from app.store.private_files import open_private
from app.store.store_url import is_shared


@contextmanager
def hold_store_lock(url: URL) -> Iterator[None]:
    """Hold the lock until the block ends. A PostgreSQL store needs none.

    Raises:
        ConfigurationInvalid: the store is in use, or its directory is not writable.
    """
    if is_shared(url):
        yield
        return
    path = Path(f"{url.database}.lock")
    try:
        file = open_private(path, "ab")
    except OSError as error:
        user = f" for uid {os.getuid()}, gid {os.getgid()}" if error.errno == errno.EACCES else ""
        raise ConfigurationInvalid(
            f"STORE_URL cannot be opened: {path.parent.resolve()}: {error.strerror}{user}"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationInvalid(
                f"STORE_URL names a store that another relay is using: {url.database}"
            ) from error
        yield
