"""Units that need a larger worker are found without a look at the others."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add an index of what few units have."""
    known = sa.text("memory IS NOT NULL")
    op.create_index(
        "units_too_large",
        "units",
        ["result", "state"],
        sqlite_where=known,
        postgresql_where=known,
    )
