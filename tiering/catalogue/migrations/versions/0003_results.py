"""Results beside runs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Tell runs from results; what is there are runs."""
    kind = sa.Column("kind", sa.String, nullable=False, server_default="raw")
    op.add_column("tier_runs", kind)
