"""Migrations: every ledger that was ever made is brought up to date, or refused as it is."""

import importlib.resources
import sqlite3
import subprocess
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.engine.queue import others
from tests.engine.queue.desk import BYTES, NOON, Desk, Place, target, unit

from forebay.engine.errors import LedgerError
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.schema import METADATA, REVISION

STATES = {
    # How a unit stood, whether it had a part, and how it stands afterwards.
    "done": ("done", True, "done"),
    "running": ("running", False, "cancelled"),
    "computed anew": ("running", True, "done"),
    "failed": ("failed", False, "cancelled"),
    "failed anew": ("failed", True, "done"),
    "superseded": ("superseded", False, "superseded"),
}


def config() -> Config:
    """Return what Alembic has to know."""
    made = Config()
    folder = importlib.resources.files("forebay.engine.queue") / "migrations"
    made.set_main_option("script_location", str(folder))
    return made


def engine_of(place: Place) -> sa.Engine:
    """Return an engine of SQLAlchemy's own."""
    return sa.create_engine(f"sqlite:///{place}" if isinstance(place, Path) else place)


def migrate(place: Place) -> None:
    """Make a ledger by all migrations, one after the other."""
    engine = engine_of(place)
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    engine.dispose()


def revisions(engine: sa.Engine) -> tuple[list[str], Any]:
    """Return of which revision a ledger says that it is, and how it says so."""
    found = sa.inspect(engine)
    columns = [
        {**each, "type": repr(each["type"])} for each in found.get_columns("alembic_version")
    ]
    key = found.get_pk_constraint("alembic_version")["constrained_columns"]
    with engine.connect() as connection:
        said = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
        return list(said.scalars()), (columns, key)


def make_old(place: Place, *, noted: bool) -> None:
    """Make a ledger as the first revision made it, with units in all states.

    Parameters
    ----------
    place
        Where.
    noted
        Whether it says of which revision it is: the very first ones do not.
    """
    engine = engine_of(place)
    with engine.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        tables = sa.MetaData()
        tables.reflect(connection)
        for run in ("a", "b"):
            job = target(run).job
            connection.execute(
                tables.tables["jobs"].insert(),
                {
                    "job": job.identity,
                    "run_id": job.run_id,
                    "run_name": job.run_name,
                    "algorithm": job.algorithm,
                    "version": job.version,
                    "needs": {"halo_frames": 0, "tile_pixels": None, "halo_pixels": 0},
                    "parameters": job.parameters,
                    "created_at": NOON,
                },
            )
        for number, (name, (state, published, _)) in enumerate(STATES.items()):
            made = unit(target("a"), number)
            connection.execute(
                tables.tables["units"].insert(),
                {
                    "unit": made.identity,
                    "job": made.job.identity,
                    "label": made.label,
                    "start": made.core.t.start,
                    "stop": made.core.t.stop,
                    "y": 0,
                    "x": 0,
                    "state": state,
                    "attempt": number + 1,
                    "part": f"part {name}" if published else None,
                    "part_blake3": "1" * 64 if published else None,
                    "part_bytes": 100 if published else None,
                    "rows": 7 if published else None,
                    "error": "too dark" if state == "failed" else None,
                    "taken_at": made.taken_at,
                    "began_at": NOON + 1,
                    "ended_at": NOON + 2 if state != "running" else None,
                    "published_at": NOON + 2 if published else None,
                },
            )
        if not noted:
            connection.execute(sa.text("DROP TABLE alembic_version"))
    engine.dispose()


def reflected(engine: sa.Engine) -> dict[str, Any]:
    """Return all that a database says of its tables, but for the names of constraints."""
    found = sa.inspect(engine)
    tables: dict[str, Any] = {}
    for name in found.get_table_names():
        if name == "alembic_version":
            continue
        columns = [
            {
                "name": column["name"],
                "type": repr(column["type"]),
                "nullable": column["nullable"],
                "default": str(column["default"]).replace("nextval", ""),
            }
            for column in found.get_columns(name)
        ]
        indexes = sorted(
            (
                str(index["name"]),
                str(index["column_names"]),
                str({key: str(value) for key, value in index.get("dialect_options", {}).items()}),
            )
            for index in found.get_indexes(name)
        )
        keys = sorted(
            (key["constrained_columns"], key["referred_table"], key["referred_columns"])
            for key in found.get_foreign_keys(name)
        )
        primary = found.get_pk_constraint(name)["constrained_columns"]
        tables[name] = (columns, indexes, keys, primary)
    return tables


def test_the_migrations_make_the_tables_of_the_schema(empty_place: Place) -> None:
    """Alembic finds no difference, but for the comments that only the schema has."""
    migrate(empty_place)
    engine = engine_of(empty_place)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        found = compare_metadata(context, METADATA)
    differences = [
        each
        for change in found
        for each in (change if isinstance(change, list) else [change])
        if "comment" not in each[0]
    ]
    engine.dispose()
    assert differences == []


def test_tables_and_indexes_are_the_same_in_all_details(empty_place: Place) -> None:
    """As made by the migrations, and as they are made at once for a new ledger."""
    migrate(empty_place)
    engine = engine_of(empty_place)
    migrated = reflected(engine), revisions(engine)
    with engine.begin() as connection:
        METADATA.drop_all(connection)
        connection.execute(sa.text("DROP TABLE alembic_version"))
    Database(empty_place).close()
    assert migrated == (reflected(engine), revisions(engine))
    engine.dispose()


def test_a_new_ledger_is_made_without_alembic(tmp_path: Path) -> None:
    """To load it and to run all migrations takes longer than anything else about a small job."""
    program = (
        "import sys; from pathlib import Path; from forebay.engine.queue.database import Database\n"
        "Database(Path(sys.argv[1])).close(); Database(Path(sys.argv[1])).close()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    made = [sys.executable, "-c", program, str(tmp_path / "ledger.sqlite")]
    subprocess.run(made, check=True, timeout=60)


def test_the_schema_is_of_the_last_revision() -> None:
    """A new migration has to say so there, and there is but one way to it."""
    scripts = ScriptDirectory.from_config(config())
    assert scripts.get_heads() == [REVISION]
    numbers = [int(each.revision) for each in scripts.walk_revisions()]
    assert numbers == [*range(int(REVISION), 0, -1)]


@pytest.mark.parametrize("noted", [True, False], ids=["0001", "before revisions"])
def test_an_old_ledger_is_taken_over(empty_place: Place, noted: bool) -> None:
    """What is done stays published; everything else is computed again when it is asked for."""
    make_old(empty_place, noted=noted)
    with Database(empty_place, create=False) as database:
        identity = target("a").job.identity
        found = {each.start // 4: each for each in Ledger(database).units(identity)}
        for number, (name, (_, published, then)) in enumerate(STATES.items()):
            each = found[number]
            assert (each.state, each.attempt) == (then, number + 1)
            assert each.unit == unit(target("a"), number).identity
            assert (each.part, each.rows) == ((f"part {name}", 7) if published else (None, None))
            assert each.taken_at == unit(target("a"), number).taken_at
            assert each.published_at == (NOON + 2 if published else None)
        assert found[3].error == "too dark"
        assert Ledger(database).parts(identity) == {
            f"part {name}" for name, (_, published, _) in STATES.items() if published
        }
        assert Ledger(database).job(identity) == target("a").job
        assert Ledger(database).job(target("b").job.identity) == target("b").job
        assert Jobs(database).find() == []

        desk = Desk(database)
        job = desk.submit("a")
        assert desk.jobs.results(job) == [target("a")]
        (wanted,) = desk.planning.take(9)
        planned = [(unit(target("a"), number), BYTES) for number in (0, 1, 2, 3, 4)]
        done = desk.planning.add(wanted.result, planned, blocks=5, frames=20, complete=True)
        assert done == {planned[number][0].identity for number in (0, 2, 4)}
        claims = desk.take()
        assert [each.start // 4 for each in claims] == [1, 3]
        assert [each.attempt for each in claims] == [3, 5]
        desk.publish(claims)
        assert desk.state(job) == "done"
    with Database(empty_place) as database:
        assert len(Ledger(database).parts(identity)) == 5


def test_references_hold_again_after_a_migration(empty_place: Place) -> None:
    """They are not looked at while tables are taken to pieces, but afterwards."""
    make_old(empty_place, noted=True)
    with (
        Database(empty_place) as database,
        pytest.raises(LedgerError, match=r"(?i)foreign key"),
        database.write() as connection,
    ):
        connection.execute(sa.text("INSERT INTO job_results (job, result) VALUES (1, 'none')"))


def test_a_ledger_of_a_newer_forebay_is_refused(empty_place: Place) -> None:
    """It stays as it is, and the message says of which revision it is."""
    Database(empty_place).close()
    engine = engine_of(empty_place)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0099'"))
    before = reflected(engine)
    with pytest.raises(LedgerError) as refused:
        Database(empty_place)
    assert str(refused.value).startswith("the ledger ")
    assert str(refused.value).endswith(
        "was made by a newer forebay (its tables are those of revision 0099): use that one"
    )
    assert reflected(engine) == before
    engine.dispose()


def test_opening_changes_nothing_that_is_up_to_date(desk: Desk, place: Place) -> None:
    """However often."""
    desk.queue_up("run", 2)
    before = desk.everything()
    for _ in range(3):
        Database(place).close()
    assert desk.everything() == before


@pytest.mark.parametrize("kind", ["new", "0001", "before revisions"])
def test_two_processes_that_open_it_at_once_both_succeed(
    empty_place: Place, processes: ForkServerContext, kind: str
) -> None:
    """One of them makes the tables or changes them, and the other one waits for it."""
    if kind != "new":
        make_old(empty_place, noted=kind == "0001")
    together = processes.Barrier(2)
    ears = []
    children = []
    for _ in range(2):
        ear, mouth = processes.Pipe(duplex=False)
        child = processes.Process(target=others.open_together, args=(empty_place, together, mouth))
        child.start()
        mouth.close()
        ears.append(ear)
        children.append(child)
    assert [ear.recv() for ear in ears] == [0, 0]
    for child in children:
        child.join()
    with Database(empty_place) as database:
        units = Ledger(database).units(target("a").job.identity)
    assert len(units) == (0 if kind == "new" else len(STATES))


@pytest.mark.parametrize("noted", [True, False], ids=["0001", "before revisions"])
def test_killed_in_the_middle_everything_is_as_it_was(
    tmp_path: Path, processes: ForkServerContext, noted: bool
) -> None:
    """At any statement, and before the commit; the next one to open it brings it up to date."""
    path = tmp_path / "ledger.sqlite"
    make_old(path, noted=noted)
    before = content(path)
    killed = 0
    for point in range(0, 1000, 6):
        child = processes.Process(target=others.open_and_die, args=(path, point))
        child.start()
        child.join()
        if child.exitcode == 0:
            break
        assert child.exitcode == -9
        killed += 1
        assert content(path) == before
    assert killed > 5
    with Database(path, create=False) as database:
        assert len(Ledger(database).parts(target("a").job.identity)) == 3


def content(path: Path) -> list[str]:
    """Return all that is in an SQLite file, as statements."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()
