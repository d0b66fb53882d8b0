"""The `relay` command of an installed package: first makes sure that `app` is the relay's.

Other applications use that name as well, and two of them in one environment overwrite each other's
files. This module's own name is the distribution's.
"""

import sys
from pathlib import Path
from typing import Final

_ADVICE: Final = (
    "another application of this environment has a package of that name;"
    " install the relay in an environment of its own, with pipx or `uv tool install`"
)


def main() -> None:
    """Run the command, or say that `app` is another application's."""
    try:
        import app

        if Path(app.__file__ or "").parent != Path(__file__).with_name("app"):
            sys.exit(f"relay: `app` is {app.__file__}, which is not the relay's: {_ADVICE}")
        from app.cli.entry_point import main as run_command

        run_command()
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "app":
            raise
        sys.exit(f"relay: a part of `app` is not the relay's ({error}): {_ADVICE}")
