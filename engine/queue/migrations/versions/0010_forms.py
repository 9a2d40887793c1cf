"""Parts of a result are of one form, which the ledger keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column; of results that are there, the next part that is published says its form."""
    op.add_column("results", sa.Column("form", sa.String))
