"""The description of a project's tables: what it may say, and the sentence for what it may not."""

from pathlib import Path

import pytest

from app.domain.errors import ConfigurationInvalid
from app.supabase.policy_pack.description import PackTables, read_tables


def read(folder: Path, text: str) -> PackTables:
    path = folder / "tables.toml"
    path.write_text(text)
    return read_tables(path)


def test_empty_file_means_the_permission_tables_of_the_relay(tmp_path: Path) -> None:
    tables = read(tmp_path, "")

    permission_tables = (tables.users, tables.trips, tables.memberships)
    assert [table.name for table in permission_tables] == [
        "public.users",
        "public.trips",
        "public.trip_memberships",
    ]
    assert tables.rows == ()


def test_names_are_quoted_where_postgresql_needs_it(tmp_path: Path) -> None:
    tables = read(
        tmp_path,
        '[chat_messages]\ntable = "Chat app.Messages"\n'
        'columns = { user_id = "user", created_at = "said \\"when\\"" }\n',
    )

    assert tables.chat_messages is not None
    assert tables.chat_messages.name == '"Chat app"."Messages"'
    assert tables.chat_messages.c["user_id"] == '"user"'
    assert tables.chat_messages.c["created_at"] == '"said ""when"""'


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("[chat_messages", ["is not TOML"]),
        ("[chats]\ntable = 'x'", ["chats: is unknown."]),
        ("[chat_messages]\ntable = 'x'\nkeep = 1", ["chat_messages.keep: is unknown."]),
        ("[chat_messages]", ["chat_messages.table: Field required."]),
        ("[chat_messages]\ntable = 'a.b.c'", ["chat_messages.table: String should match"]),
        (
            "[chat_messages]\ntable = 'x'\ncolumns = { body = 'message' }",
            ["chat_messages: columns: unknown body; it may have id, trip_id, user_id, created_at"],
        ),
        ("[chat_reactions]\ntable = 'x'", ["chat_reactions needs the section chat_messages."]),
        ("[[trip_tables]]\ntable = 'todos'", ["trip_tables.0.event: Field required."]),
        (
            "[chat_messages]\ntable = 'x'\n[[trip_tables]]\ntable = 'public.x'\nevent = 'todo'",
            ["public.x is described twice."],
        ),
        (
            "[[trip_tables]]\ntable = 'todos'\nevent = 'message'\n[chat_messages]\ntable = 'x'",
            ["two tables have the event message."],
        ),
        (
            "[[trip_tables]]\ntable = 'todos'\nevent = 'signal'",
            ["trip_tables.0: event: signal is one of the relay's own."],
        ),
        (
            "[users]\nid = 1\n[trips]\nkeep_policies = 'perhaps'",
            ["users.id: is unknown.", "trips.keep_policies: Input should be a valid boolean"],
        ),
    ],
)
def test_mistake_is_reported_with_its_section_and_key(
    tmp_path: Path, text: str, sentences: list[str]
) -> None:
    with pytest.raises(ConfigurationInvalid) as caught:
        read(tmp_path, text)

    assert len(caught.value.sentences) == len(sentences)
    for said, wanted in zip(caught.value.sentences, sentences, strict=True):
        assert "tables.toml" in said
        assert wanted in said


def test_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="cannot be read"):
        read_tables(tmp_path / "missing.toml")
