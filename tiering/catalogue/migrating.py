"""Bringing the catalogue's tables up to date, in whichever database they lie."""

import importlib.resources
import threading
from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa

from forebay.tiering.catalogue.schema import REVISION, VERSION_TABLE, make_tables
from forebay.tiering.errors import CatalogueError

MIGRATING = threading.Lock()
"""Alembic keeps what it works on in a module: one thread at a time may, whichever the tables."""


class Database(Protocol):
    """A database in which every change is one durable transaction.

    The engine's is one; the catalogue shares it with the queue, and knows no more of it than this.
    """

    @property
    def name(self) -> str:
        """What it is called in messages."""

    def write(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection whose changes are durable, all of them, when the block ends."""

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Give a connection that sees one state of the tables."""

    def now(self, connection: sa.Connection) -> int:
        """Return the time, in nanoseconds since 1970-01-01 UTC, by the clock that all share."""


def bring_up_to_date(database: Database) -> None:
    """Make the catalogue's tables, or change those of an older forebay.

    Raises
    ------
    CatalogueError
        If they were made by a newer one.
    """
    with database.read() as connection:
        if _revision(connection) == REVISION:
            return
    with database.write() as connection:
        if (known := _revision(connection)) is None:
            make_tables(connection)
        elif known != REVISION:
            migrate(connection, name=database.name)


def migrate(connection: sa.Connection, *, name: str) -> None:
    """Make the changes of each migration that was not made yet, one after the other.

    Parameters
    ----------
    connection
        Within a transaction.
    name
        What the database is called in messages.

    Raises
    ------
    CatalogueError
        If the tables were made by a newer forebay.
    """
    with MIGRATING:
        # Few calls need this, and it takes longer to import than to open a database.
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        folder = importlib.resources.files("forebay.tiering.catalogue") / "migrations"
        config.set_main_option("script_location", str(folder))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = VERSION_TABLE
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise CatalogueError(
                f"the catalogue of tiers in {name} was made by a newer forebay (its tables are "
                f"those of revision {_revision(connection)}): use that one"
            ) from error


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))
    return connection.execute(sa.select(version.c.version_num)).scalar()
