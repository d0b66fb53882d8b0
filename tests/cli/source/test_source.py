"""What is printed of a source."""

from pathlib import Path

import pytest

from app.cli.source.source import Source

QUERIES = Path("queries.sql")


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (Source(Path("s.ndjson"), None, None, 60), ["--source-file", "s.ndjson"]),
        (
            Source(None, "postgresql://ana@db/app", QUERIES, 60),
            ["--source-db-url", "postgresql://ana@db/app", "--source-queries", "queries.sql"],
        ),
        (
            Source(None, "postgresql://ana:secret@db/app", None, 60),
            ["--source-db-url", "$BACKEND_DB_URL"],
        ),
        (Source(None, "host=db password=secret", None, 60), ["--source-db-url", "$BACKEND_DB_URL"]),
        (Source(None, "secret secret", None, 60), ["--source-db-url", "$BACKEND_DB_URL"]),
    ],
)
def test_options_are_repeated_without_a_password(source: Source, options: list[str]) -> None:
    assert source.write_options() == options
    assert "secret" not in source.name
