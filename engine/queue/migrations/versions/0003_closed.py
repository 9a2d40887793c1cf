"""Runs that are planned to their end are told from those that are planned as far as they had come."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; what live jobs follow is looked at once more."""
    closed = sa.Column("closed", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("results", closed)
