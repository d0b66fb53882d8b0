"""Runs one target under atheris: coverage decides which inputs are kept and changed further.

    python -m tests.fuzz.fuzz_signatures 60
    python -m tests.fuzz.fuzz_signatures .local/fuzz/signatures/crash-0123abcd

The first searches for so many seconds, from the seeds and from what earlier runs found worth
keeping; the second repeats a finding. Both end with 0 where nothing is wrong.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final, Protocol, cast

SEPARATOR: Final = b"\r\n"
"""Between the parts of an input, as no header can hold it; a lone CR or LF can stand anywhere."""

_FOLDER: Final = Path(".local/fuzz")
_SLOW_SECONDS: Final = 5
_MAXIMUM_BYTES: Final = 8192
_MEMORY_MEBIBYTES: Final = 2048
# python-jose counts as ours: the relay raises and accepts what it does.
_INSTRUMENTED: Final = ("app", "jose")


class Target(Protocol):
    """What a target's module has.

    Attributes:
        ACCEPTED: inputs, by name, that are taken.
        REFUSED: inputs, by name, that are refused.
    """

    ACCEPTED: Mapping[str, bytes]
    REFUSED: Mapping[str, bytes]

    def check(self, data: bytes) -> bool:
        """Return whether the input is accepted; AssertionError if that is wrong."""


def main(name: str) -> None:
    """Fuzz the target of this name, as the arguments of the process say."""
    arguments = sys.argv[1:]
    if len(arguments) != 1:
        sys.exit(f"usage: python -m tests.fuzz.fuzz_{name} SECONDS | FINDING")
    folder = _FOLDER / name
    if arguments[0].isdecimal():
        corpus = folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        options = [f"-max_total_time={arguments[0]}", str(corpus)]
    else:
        options = arguments
    atheris = _import_atheris()
    # Only what is imported in here is watched, so nothing above may import the app.
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        target = cast(Target, importlib.import_module(f"tests.fuzz.{name}"))
    if arguments[0].isdecimal():
        _write_seeds(target, corpus)
    atheris.Setup(
        [
            f"fuzz_{name}",
            f"-artifact_prefix={folder}/",
            f"-timeout={_SLOW_SECONDS}",
            f"-max_len={_MAXIMUM_BYTES}",
            f"-rss_limit_mb={_MEMORY_MEBIBYTES}",
            "-print_final_stats=1",
            *options,
        ],
        _drop_verdict(target.check),
    )
    atheris.Fuzz()


def split(data: bytes, parts: int) -> list[bytes | None]:
    """Cut an input into parts; missing ones are None."""
    found = data.split(SEPARATOR, parts - 1)
    return [*found, *([None] * (parts - len(found)))]


def join(*parts: bytes) -> bytes:
    """Make an input of its parts."""
    return SEPARATOR.join(parts)


def _import_atheris() -> ModuleType:
    # By its name, so that mypy is the same with and without it.
    try:
        return importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("atheris is not installed: run `make fuzz`, or `uv pip install atheris==3.0.0`.")


def _write_seeds(target: Target, corpus: Path) -> None:
    for name, data in {**target.ACCEPTED, **target.REFUSED}.items():
        (corpus / f"seed-{name.replace('/', '-').replace(' ', '-')}").write_bytes(data)


def _drop_verdict(check: Callable[[bytes], bool]) -> Callable[[bytes], None]:
    def test_one_input(data: bytes) -> None:
        check(data)

    return test_one_input
