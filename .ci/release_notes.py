"""`python .ci/release_notes.py 1.2.3`: print the section of that version in CHANGELOG.md.

Fails if there is none, or if pyproject.toml has another version.
"""

import re
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def main(version: str) -> str:
    """Return the notes of a version."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    if project["version"] != version:
        sys.exit(f"pyproject.toml has version {project['version']}, the tag {version}")
    text = (CHECKOUT / "CHANGELOG.md").read_text()
    section = rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## \[|\Z)"
    found = re.search(section, text, re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"CHANGELOG.md has no section for {version}")
    return found[1].strip()


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1]) + "\n")
