"""Changes to the tables, one after the other, as Alembic carries them out."""
