"""What is published of a result, as it goes along with the parts, and into another ledger."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from forebay.engine.definition import Sequential
from forebay.engine.errors import OutputError, ResultDamagedError, ResultFormError
from forebay.engine.queue.database import Database
from forebay.engine.queue.schema import RESULTS, UNITS
from forebay.engine.queue.sequence import go_on
from forebay.engine.queue.settle import settle_results
from forebay.engine.queue.states import HELD_UNITS, UnitState
from forebay.engine.results.form import common_form, is_form
from forebay.engine.unit import Job, needs_of

_FORMAT = 1
_AT_ONCE = 500
_PLACE = ("start", "y", "x")


@dataclass(frozen=True, slots=True)
class PublishedUnit:
    """A unit and its published part, with all that the ledger has to know to read it."""

    unit: str
    """Its identity."""
    label: str
    """Its frames and tile."""
    start: int
    """First frame."""
    stop: int
    """Frame after the last one."""
    y: int
    """First row of pixels."""
    x: int
    """First column of pixels."""
    bytes: int
    """Bytes of frames that it has to see."""
    attempt: int
    """The attempt that was published."""
    taken_at: int
    """When its last frame was taken, in nanoseconds since 1970-01-01 UTC."""
    began_at: int | None
    """When the attempt began."""
    ended_at: int | None
    """When it ended."""
    seconds: float | None
    """How long a worker was at it."""
    part: str
    """Folder of the part."""
    part_blake3: str
    """Digest of the part's manifest."""
    part_bytes: int
    """Size of the part."""
    rows: int | None
    """Rows, where the part is a table."""
    published_at: int
    """When it was published."""
    before: str | None
    """The unit whose state it goes on with."""


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """A result, or some of its parts, as a ledger knows it."""

    job: Job
    """What it is of."""
    location: str
    """Where the run lies."""
    units: tuple[PublishedUnit, ...]
    """Its published units, in the order of their frames."""
    form: str | None = None
    """What its parts have in common, as far as it is known."""

    def to_json(self) -> bytes:
        """Return it as a document."""
        content = {
            "format": _FORMAT,
            "result": self.job.identity,
            "job": dataclasses.asdict(self.job),
            "location": self.location,
            "form": self.form,
            "units": [dataclasses.asdict(each) for each in self.units],
        }
        return json.dumps(content, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes, *, where: str) -> "ResultRecord":
        """Read it back.

        Raises
        ------
        ResultDamagedError
            If it is no such document, one of a newer format, or contradicts itself.
        """
        try:
            document = json.loads(content)
            if document["format"] != _FORMAT:
                raise ResultDamagedError(
                    f"{where} has the format {document['format']!r}; this forebay reads {_FORMAT}: "
                    "install a newer one"
                )
            fields: Mapping[str, Any] = document["job"]
            job = Job(**{**fields, "needs": needs_of(fields["needs"])})
            units = tuple(PublishedUnit(**each) for each in document["units"])
            identity, location = str(document["result"]), str(document["location"])
            # Those that were written by an earlier forebay do not know it.
            form = document.get("form")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ResultDamagedError(
                f"{where} does not say what was published ({error!r})"
            ) from error
        names = [name for each in units for name in (each.part, each.unit, each.label)]
        right = identity == job.identity and (form is None or is_form(form))
        if not right or not all(_is_name(each) for each in names):
            raise ResultDamagedError(f"{where} contradicts itself: it is not as it was written")
        return cls(job, location, units, form)


def _is_name(given: object) -> bool:
    return isinstance(given, str) and given not in {"", ".", ".."} and "/" not in given


def published(database: Database, result: str) -> ResultRecord | None:
    """Return what is published of a result; None where the ledger does not know it."""
    columns = [UNITS.c[name] for name in PublishedUnit.__dataclass_fields__]
    query = (
        sa.select(*columns)
        .where(UNITS.c.result == result, UNITS.c.part.is_not(None))
        .order_by(*(UNITS.c[name] for name in _PLACE), UNITS.c.unit)
    )
    with database.read() as connection:
        row = connection.execute(sa.select(RESULTS).where(RESULTS.c.result == result)).one_or_none()
        if row is None:
            return None
        units = tuple(PublishedUnit(*each) for each in connection.execute(query))
    needs = needs_of(row.needs)
    job = Job(row.run_id, row.run_name, row.algorithm, row.version, needs, dict(row.parameters))
    return ResultRecord(job, row.location or "", units, row.form)


def enter(database: Database, record: ResultRecord, *, folder: Path) -> frozenset[str]:
    """Enter published units into a ledger, in one transaction; what it has published stays.

    Parameters
    ----------
    database
        The ledger.
    record
        What is to be entered; its parts lie in the folder of the result already.
    folder
        Where the result lies.

    Returns
    -------
    frozenset of str
        The parts that the ledger names now.

    Raises
    ------
    ResultFormError
        If they are of another form than what the ledger has published of the result.
    """
    result = record.job.identity
    with database.write() as connection:
        now = database.now(connection)
        if connection.execute(_of(RESULTS.c.result, result)).first() is None:
            values = {
                "result": result,
                "run_id": record.job.run_id,
                "run_name": record.job.run_name,
                "location": record.location,
                "folder": str(folder),
                "algorithm": record.job.algorithm,
                "version": record.job.version,
                "needs": dataclasses.asdict(record.job.needs),
                "parameters": record.job.parameters,
                "created_at": now,
                "frames": max((each.stop for each in record.units), default=0),
            }
            connection.execute(sa.insert(RESULTS).values(**values))
        else:
            # Its job may have been submitted, and its place not have been needed so far.
            unknown = sa.update(RESULTS).where(
                RESULTS.c.result == result, RESULTS.c.folder.is_(None)
            )
            connection.execute(unknown.values(folder=str(folder), location=record.location))
        known = {
            row.unit: row
            for row in connection.execute(sa.select(UNITS).where(UNITS.c.result == result))
        }
        taken = {
            (row.start, row.y, row.x) for row in known.values() if row.state != UnitState.SUPERSEDED
        }
        entered = [
            each
            for each in record.units
            if _may_enter(known.get(each.unit))
            and (each.unit in known or (each.start, each.y, each.x) not in taken)
        ]
        _put_units(connection, result, entered, known)
        if entered and record.form is not None:
            _learn_form(connection, result, record.form, folder=folder)
        if entered and isinstance(record.job.needs, Sequential):
            go_on(connection, [result], starts={each.stop for each in entered})
        settle_results(connection, [result], now=now)
        named = sa.select(UNITS.c.part).where(UNITS.c.result == result, UNITS.c.part.is_not(None))
        return frozenset(connection.execute(named).scalars())


def _learn_form(connection: sa.Connection, result: str, form: str, *, folder: Path) -> None:
    mine = RESULTS.c.result == result
    known = connection.execute(sa.select(RESULTS.c.form).where(mine)).scalar_one()
    try:
        form = form if known is None else common_form(known, form)
    except OutputError as error:
        raise ResultFormError(
            f"parts of {folder} cannot be added to those that are there: {error}; compute the "
            "result anew with --force, or keep them under a ledger of their own"
        ) from error
    connection.execute(sa.update(RESULTS).where(mine).values(form=form))


def _of(column: sa.Column[Any], value: str) -> sa.Select[Any]:
    return sa.select(column).where(column == value)


def _may_enter(row: sa.Row[Any] | None) -> bool:
    """Tell whether a unit is unknown, or known as one that nobody has computed or is computing."""
    never = (*HELD_UNITS, UnitState.SUPERSEDED)
    return row is None or (row.part is None and row.state not in never)


def _put_units(
    connection: sa.Connection,
    result: str,
    units: Sequence[PublishedUnit],
    known: Collection[str],
) -> None:
    done = {
        "state": UnitState.DONE,
        "holder": None,
        "not_before": None,
        "failure": None,
        "error": None,
    }
    rows = []
    for each in units:
        fields = dataclasses.asdict(each)
        if each.unit in known:
            # The number of attempts goes on: a late attempt of this ledger must find another one.
            del fields["attempt"]
            mine = sa.update(UNITS).where(UNITS.c.unit == each.unit)
            connection.execute(mine.values(**{**fields, **done}))
        else:
            more = {"result": result, "retries": 0, "deaths": 0, "alone": False}
            rows.append({**fields, **done, **more})
    for begin in range(0, len(rows), _AT_ONCE):
        connection.execute(sa.insert(UNITS), rows[begin : begin + _AT_ONCE])
