"""Files of queries for another schema."""

from pathlib import Path

import pytest

from app.cli.source.queries import BUILT_IN_QUERIES, read_queries
from app.domain.entities import Kind
from app.domain.errors import ConfigurationInvalid

FILE = """\
-- The schema of 2019.
-- memberships
select trip as trip_id, account as user_id, 'MEMBER' as role, state as status from seats;
--  users
select id, mail as email, -- users have one
  nick as username
from accounts
;
-- trips
select id, title as name, owner as created_by from journeys
"""


def test_file_has_a_query_for_each_kind_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "queries.sql"
    path.write_text(FILE)
    queries = read_queries(path)
    assert queries.keys() == BUILT_IN_QUERIES.keys()
    assert queries[Kind.USER].startswith("select id, mail")
    assert queries[Kind.USER].rstrip().endswith("from accounts")
    assert queries[Kind.MEMBERSHIP].endswith("from seats")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "select 1",
        FILE.replace("-- trips", "-- journeys"),
        FILE + "-- trips\nselect 2",
        FILE.partition("select id, title")[0],
    ],
)
def test_file_without_exactly_three_queries_is_rejected(tmp_path: Path, text: str) -> None:
    path = tmp_path / "queries.sql"
    path.write_text(text)
    with pytest.raises(ConfigurationInvalid, match="`-- users`, `-- trips` and `-- memberships`"):
        read_queries(path)


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"none\.sql cannot be read"):
        read_queries(tmp_path / "none.sql")
    binary = tmp_path / "binary.sql"
    binary.write_bytes(b"\xff")
    with pytest.raises(ConfigurationInvalid, match="is not UTF-8"):
        read_queries(binary)
