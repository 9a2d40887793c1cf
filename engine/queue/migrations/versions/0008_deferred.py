"""Units that are deferred are found without a look at each result."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add an index of what few units are."""
    deferred = sa.text("state = 'deferred'")
    op.create_index(
        "units_deferred",
        "units",
        ["result"],
        sqlite_where=deferred,
        postgresql_where=deferred,
    )
