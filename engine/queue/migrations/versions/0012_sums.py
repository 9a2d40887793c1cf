"""How a job stands is told from an index alone, without a look at each of its units."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the index of what is to be taken anew, with what is summed up of units."""
    op.drop_index("units_to_take", "units")
    columns = ["result", "state", "start", "y", "x", "stop", "seconds"]
    op.create_index("units_to_take", "units", columns)
