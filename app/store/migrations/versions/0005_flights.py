"""What may still land is noted for each batch, and no longer on each of its entities.

A batch then costs one row to note and one to forget instead of two changes of every entity.
"""

import json
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and take over what is noted."""
    flights = op.create_table(
        "flights",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("refs", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    noted: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for kind, key, until in op.get_bind().execute(
        sa.text("SELECT kind, key, in_flight_until FROM entities WHERE in_flight_until IS NOT NULL")
    ):
        noted[until][kind].append(key)
    for until, keys in noted.items():
        op.execute(flights.insert().values(until=until, refs=json.dumps(keys)))
    op.drop_index("entities_in_flight", "entities")
    op.drop_column("entities", "in_flight_until")
