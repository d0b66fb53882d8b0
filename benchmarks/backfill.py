"""A backfill: one batch after the other, on one connection."""

import socket
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO, Final

from benchmarks.requests import make_batches

BATCH_EVENTS: Final = 500
# So many are made and signed at a time.
_BATCHES_AHEAD: Final = 20


def send_batches(port: int, memberships: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Send an event of each membership, and yield after the response to each batch.

    Raises:
        RuntimeError: a batch was not accepted.
    """
    remaining = iter(memberships)
    with (
        socket.create_connection(("127.0.0.1", port)) as connection,
        connection.makefile("rb") as answers,
    ):
        while chunk := list(islice(remaining, BATCH_EVENTS * _BATCHES_AHEAD)):
            for request in make_batches(chunk, BATCH_EVENTS):
                connection.sendall(request)
                _read_answer(answers)
                yield


def _read_answer(answers: IO[bytes]) -> None:
    status = answers.readline()
    if b" 202 " not in status:
        raise RuntimeError(f"a batch was answered {status!r}")
    length = 0
    while (line := answers.readline().lower()) != b"\r\n":
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    answers.read(length)
