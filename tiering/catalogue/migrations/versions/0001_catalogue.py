"""The catalogue as it was first: runs, their objects and copies, moves, pins and holds."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "tier_runs",
        sa.Column("run_id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, index=True),
        sa.Column("home", sa.String, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("objects", sa.BigInteger, nullable=False),
        sa.Column("closed_at", sa.BigInteger, nullable=False),
        sa.Column("read_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tier_objects",
        sa.Column("run_id", sa.String, sa.ForeignKey("tier_runs.run_id"), primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("blake3", sa.String, nullable=False),
        sa.Column("content", sa.LargeBinary),
    )
    op.create_table(
        "tier_shelves",
        sa.Column("shelf", sa.String, primary_key=True),
        sa.Column("run_id", sa.String, sa.ForeignKey("tier_runs.run_id"), nullable=False),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("home", sa.Boolean, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("verified_at", sa.BigInteger),
        sa.Column("drain_until", sa.BigInteger),
        sa.Index("tier_shelves_of_run", "run_id", "tier"),
        sa.Index("tier_shelves_in_tier", "tier", "state"),
    )
    op.create_table(
        "tier_moves",
        sa.Column("move", number, primary_key=True, autoincrement=True),
        sa.Column("run_id", sa.String, sa.ForeignKey("tier_runs.run_id"), nullable=False),
        sa.Column("source", sa.String, sa.ForeignKey("tier_shelves.shelf"), nullable=False),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("target", sa.String, sa.ForeignKey("tier_shelves.shelf")),
        sa.Column("keep", sa.Boolean, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.String),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("not_before", sa.BigInteger),
        sa.Column("error", sa.String),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Index(
            "tier_moves_one_at_a_time",
            "run_id",
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        ),
    )
    op.create_table(
        "tier_progress",
        sa.Column("shelf", sa.String, sa.ForeignKey("tier_shelves.shelf"), primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
    )
    op.create_table(
        "tier_protection",
        sa.Column("protection", number, primary_key=True, autoincrement=True),
        sa.Column(
            "run_id", sa.String, sa.ForeignKey("tier_runs.run_id"), nullable=False, index=True
        ),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("tier", sa.String),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("until", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
