"""Units are found by their frames, and indexes of what few have hold these alone everywhere."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add an index, and make those anew that hold every unit."""
    op.create_index("units_by_frames", "units", ["result", "start"])
    if op.get_bind().dialect.name != "postgresql":
        return
    for name, column in (("units_of_holder", "holder"), ("units_to_retry", "not_before")):
        op.drop_index(name, "units")
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(name, "units", [column], postgresql_where=known)
