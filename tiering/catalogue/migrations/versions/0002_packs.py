"""Copies whose small objects lie in packs."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "tier_packs",
        sa.Column("shelf", sa.String, sa.ForeignKey("tier_shelves.shelf"), primary_key=True),
        sa.Column("pack", sa.String, primary_key=True),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("blake3", sa.String),
    )
    op.create_table(
        "tier_packed",
        sa.Column("shelf", sa.String, sa.ForeignKey("tier_shelves.shelf"), primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("pack", sa.String, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False),
    )
