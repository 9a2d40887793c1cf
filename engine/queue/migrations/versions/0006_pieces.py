"""Units that are too large for a worker: in pieces, or on one with more memory."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("units", sa.Column("memory", sa.BigInteger))
    pieces = sa.Column("pieces", sa.Integer, nullable=False, server_default="1")
    op.add_column("units", pieces)
