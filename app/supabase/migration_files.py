"""The SQL files for a Supabase project.

An installed package holds them next to this module; a checkout at its root, for the Supabase CLI.
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
    """List the idempotent files that every project needs, also one with its own tables."""
    return [path for path in list_migrations() if "_relay_" in path.name]
