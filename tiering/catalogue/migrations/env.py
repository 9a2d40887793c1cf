"""What Alembic runs: the migrations, over the connection that it is given."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    render_as_batch=True,
    version_table=context.config.attributes["version_table"],
)
context.run_migrations()
