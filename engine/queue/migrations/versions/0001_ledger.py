"""The ledger as it was first: jobs over one run each, and their units."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "jobs",
        sa.Column("job", sa.String, primary_key=True),
        sa.Column("run_id", sa.String, nullable=False, index=True),
        sa.Column("run_name", sa.String, nullable=False),
        sa.Column("algorithm", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("needs", sa.JSON, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "units",
        sa.Column("unit", sa.String, primary_key=True),
        sa.Column("job", sa.String, sa.ForeignKey("jobs.job"), nullable=False, index=True),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
        sa.Column("stop", sa.BigInteger, nullable=False),
        sa.Column("y", sa.BigInteger, nullable=False),
        sa.Column("x", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("part", sa.String),
        sa.Column("part_blake3", sa.String),
        sa.Column("part_bytes", sa.BigInteger),
        sa.Column("rows", sa.BigInteger),
        sa.Column("error", sa.String),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("published_at", sa.BigInteger),
    )
