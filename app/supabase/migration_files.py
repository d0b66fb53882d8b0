"""The SQL files for a Supabase project.

An installed package has them beside this module; a checkout at its root, for the Supabase CLI.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PACKAGED: Final = Path(__file__).with_name("migrations")
_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "supabase" / "migrations"


def list_migrations() -> Sequence[Path]:
    """List all files in the order in which they apply: tables, policies, functions."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return sorted(folder.glob("*.sql"))


def list_function_files() -> Sequence[Path]:
    """List the files that every project needs, whatever its tables; they are idempotent."""
    return [path for path in list_migrations() if "_relay_" in path.name]
