"""The generated parts of docs/reference are what the code says today."""

from pathlib import Path

import pytest

from docs.generate import REFERENCE, render


@pytest.mark.parametrize("page", sorted(REFERENCE.glob("*.md")), ids=lambda page: page.name)
def test_generated_part_is_up_to_date(page: Path) -> None:
    assert page.read_text() == render(page.read_text()), f"{page.name} is stale: run `make docs`"
