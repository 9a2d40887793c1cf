"""Statements about many rows at once, which are given to the database as one parameter.

A statement with a list of names is written, read and planned anew for each length of the list; and
one that is sent for each row costs a message, or a call, for each.  These are the same text however
many rows there are: PostgreSQL gets an array or JSON, SQLite gets JSON.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class Names(sa.types.TypeDecorator[Iterable[str]]):
    """Any number of names, as one parameter."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Return how a database takes them."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.ARRAY(sa.String))
        return dialect.type_descriptor(sa.String())

    def process_bind_param(self, value: Iterable[str] | None, dialect: sa.Dialect) -> Any:
        """Return them as the database takes them."""
        names = list(value or ())
        return names if dialect.name == "postgresql" else json.dumps(names)


class among(FunctionElement[bool]):  # noqa: N801 (a word in statements)
    """Tells whether a column's value is one of many names.

    Parameters
    ----------
    column
        The column.
    names
        The names, or what binds them when the statement is executed.
    """

    inherit_cache = True
    type = sa.Boolean()

    def __init__(
        self, column: sa.ColumnElement[str], names: Iterable[str] | sa.BindParameter[Any]
    ) -> None:
        if not isinstance(names, sa.BindParameter):
            names = sa.bindparam(None, list(names), type_=Names())
        super().__init__(column, names)

    def self_group(self, against: Any = None) -> Self:  # noqa: ARG002
        """Stay as it is: compared with 1, as SQLAlchemy would have it, no index would serve."""
        return self


@compiles(among, "postgresql")
def _among_array(element: Any, compiler: Any, **options: Any) -> str:
    column, names = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY ({names})"


@compiles(among, "sqlite")
def _among_json(element: Any, compiler: Any, **options: Any) -> str:
    column, names = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({names}))"  # noqa: S608 (compiled by SQLAlchemy)


def given_rows(dialect: str, columns: Mapping[str, sa.types.TypeEngine[Any]]) -> sa.FromClause:
    """Return a table of the rows that a statement is given as the parameter ``rows``.

    Parameters
    ----------
    dialect
        The database's: ``sqlite`` or ``postgresql``.
    columns
        The names and types of what each row, a dictionary, holds.
    """
    rows = sa.bindparam("rows", type_=sa.JSON())
    if dialect == "postgresql":
        typed = [sa.column(name, kind) for name, kind in columns.items()]
        table = sa.func.json_to_recordset(rows).table_valued(*typed, name="given")
        return table.render_derived(with_types=True)
    each = sa.func.json_each(rows).table_valued("value", name="each")
    values = [
        sa.func.json_extract(each.c.value, f"$.{name}", type_=kind).label(name)
        for name, kind in columns.items()
    ]
    return sa.select(*values).subquery("given")
