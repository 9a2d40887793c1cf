"""Units that follow on each other, storage that is out of order, and jobs for one cluster."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("units", sa.Column("before", sa.String))
    op.add_column("units", sa.Column("avoid", sa.String))
    op.add_column("services", sa.Column("cluster", sa.String))
    op.add_column("results", sa.Column("held_until", sa.BigInteger))
    op.add_column("results", sa.Column("held_because", sa.String))
    op.add_column("jobs", sa.Column("cluster", sa.String))
    partial = sa.Column("partial", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("jobs", partial)
    op.add_column("jobs", sa.Column("reduce_at", sa.Integer))
