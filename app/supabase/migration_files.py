"""Where the SQL files for a Supabase project are: beside this module in an installed package.

In a checkout they are at its root, where the Supabase CLI looks for them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PACKAGED: Final = Path(__file__).with_name("migrations")
_CHECKOUT: Final = Path(__file__).resolve().parents[2] / "supabase" / "migrations"


def list_migrations() -> Sequence[Path]:
    """List every file in the order of application: tables, policies, the relay's functions."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return sorted(folder.glob("*.sql"))


def list_function_files() -> Sequence[Path]:
    """List the files that every project needs, whatever its tables; they can be applied again."""
    return [path for path in list_migrations() if "_relay_" in path.name]
