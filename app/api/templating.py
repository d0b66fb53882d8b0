"""The Jinja environment of the relay's pages: strict, with every value escaped."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.api.health import VERSION

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES: Final = Path(__file__).with_name("templates")


def make_environment(folder: Path) -> "Environment":
    """Make an environment that loads the templates of a folder."""
    # Imported for the first page: most relays never make one.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["version"] = VERSION
    return environment
