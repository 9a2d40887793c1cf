"""Jobs have what they read recalled from archives, so much ahead of what is computed."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add how far ahead; jobs that are there have nothing recalled."""
    op.add_column("jobs", sa.Column("recall_ahead", sa.BigInteger))
