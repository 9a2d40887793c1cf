"""Processes that die within a transaction, and servers that drop their clients."""

import contextlib
from collections.abc import Iterator

import psycopg
import sqlalchemy as sa

_DROP_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


class DiedError(Exception):
    """The process that was to commit is no more."""


@contextlib.contextmanager
def dying_at_commits() -> Iterator[None]:
    """Let everybody die who commits a change."""

    def die(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("writes"):
            raise DiedError

    sa.event.listen(sa.Engine, "commit", die)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "commit", die)


def drop_connections(ledger: str) -> None:
    """End all connections to a ledger on a server, as one does that is started anew."""
    url = sa.make_url(ledger).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as other:
        other.execute(_DROP_OTHERS)
