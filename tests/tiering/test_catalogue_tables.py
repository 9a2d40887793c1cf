"""The catalogue's tables are those of its migrations, beside those of the queue."""

import importlib.resources
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from forebay.engine.queue.database import Database
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.migrating import migrate
from forebay.tiering.catalogue.schema import METADATA, REVISION, VERSION_TABLE
from forebay.tiering.errors import CatalogueError


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a catalogue is to be kept, without any tables yet: a file, or a database of a server."""
    if request.param == "sqlite":
        return tmp_path / "ledger.sqlite"
    url: str = request.getfixturevalue("empty_postgresql")
    return url


on_each = pytest.mark.parametrize(
    "place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


def engine_of(place: Path | str) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{place}" if isinstance(place, Path) else place)


def tables_at(place: Path | str) -> list[str]:
    engine = engine_of(place)
    try:
        return sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


def made_at_once(database: Database) -> None:
    Catalogue(database)


def made_step_by_step(database: Database) -> None:
    with database.write() as connection:
        migrate(connection, name=database.name)


@on_each
@pytest.mark.parametrize("make", [made_at_once, made_step_by_step])
def test_the_migrations_make_the_tables_of_the_schema(
    place: Path | str, make: Callable[[Database], None]
) -> None:
    """A new catalogue and an old one that was changed are the same, but for the comments."""
    with Database(place) as database:
        make(database)
        # It is known to be of the last revision, whichever way it has come to that.
        Catalogue(database)
    engine = engine_of(place)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "version_table": VERSION_TABLE,
                "include_object": lambda _object, name, kind, *_: (
                    kind != "table" or name in METADATA.tables
                ),
            },
        )
        found = compare_metadata(context, METADATA)
    engine.dispose()
    differences = [
        each
        for change in found
        for each in (change if isinstance(change, list) else [change])
        if "comment" not in each[0]
    ]
    assert differences == []


def test_the_schema_is_of_the_last_revision() -> None:
    """A new migration has to say so there, and there is but one way to it."""
    config = Config()
    folder = importlib.resources.files("forebay.tiering.catalogue") / "migrations"
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


@on_each
def test_a_ledger_without_tiers_has_none_of_their_tables(place: Path | str) -> None:
    """And opening the catalogue twice changes nothing the second time."""
    with Database(place) as database:
        assert not set(METADATA.tables) & set(tables_at(place))
        Catalogue(database)
        made = tables_at(place)
        assert set(METADATA.tables) < set(made)
        Catalogue(database)
        assert tables_at(place) == made


@on_each
def test_a_catalogue_of_a_newer_forebay_is_refused(place: Path | str) -> None:
    """The queue beside it can still be used."""
    with Database(place) as database:
        Catalogue(database)
        with database.write() as connection:
            connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '0099'"))
        with pytest.raises(CatalogueError, match=r"tables are those of revision 0099\): use that"):
            Catalogue(database)
    Database(place).close()
