"""What a row of ours looks like in the table that it goes to."""

import json

from app.domain.documents import write_row
from app.domain.entities import RowText
from app.supabase.planning import Action, Write


def write_target_row(write: Write, row: RowText) -> str:
    """Give the JSON object that a write sends for one row.

    A target without any mapping takes the stored text unread. An update leaves out the key: it
    names the row already, and some columns may not be written twice (generated always as identity).
    """
    target = write.target
    if target.takes_rows_as_they_are:
        return row
    fields = json.loads(row)
    columns = {
        **{column: fields[name] for name, column in target.columns.items()},
        **{column: fields[name] for column, name in target.copy.items()},
        **target.constants,
        **{target.extra[name]: fields[name] for name in write.extra},
    }
    if write.action is Action.UPDATE:
        for column in target.key_columns:
            del columns[column]
    return write_row(columns)
