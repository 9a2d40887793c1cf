"""What jobs may have recalled has a limit, which counts as long as they go on."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the limit, and what counts against it; jobs that are there have none."""
    op.add_column("jobs", sa.Column("recall_most", sa.Float))
    op.add_column("jobs", sa.Column("recall_cost", sa.Float, nullable=False, server_default="0"))
