"""The ledger: one attempt at a time may write, and what is published stays published."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.acquisition import Extent
from forebay.engine import Blockwise, WholeRun
from forebay.engine.errors import LedgerError
from forebay.engine.ledger import Ledger, UnitRecord
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, Region, Unit

JOB = Job("run id", "run", "blur", "1.0.0", Blockwise(halo_frames=2), {"sigma": 1.5})
WHOLE = Region(Extent(0, 4), Extent(0, 6), Extent(0, 8))
UNIT = Unit(JOB, WHOLE, WHOLE, ("digest",), taken_at=10_000_000_000)
ONE, TWO = Part("one", "1" * 64, 100, 5), Part("two", "2" * 64, 200, 6)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger that knows the job, and whose clock goes up by a second at each look."""
    times = iter(range(20_000_000_000, 10**12, 10**9))
    opened = Ledger(tmp_path / "ledger.sqlite", now=lambda: next(times))
    opened.add_job(JOB)
    yield opened
    opened.close()


def record(ledger: Ledger, unit: Unit = UNIT) -> UnitRecord:
    (found,) = [each for each in ledger.units(unit.job.identity) if each.unit == unit.identity]
    return found


def test_a_job_comes_back_as_it_was(ledger: Ledger) -> None:
    """What a job needs and its parameters survive the database."""
    whole = dataclasses.replace(JOB, needs=WholeRun(), parameters={"box": [1, 2], "name": None})
    ledger.add_job(whole)
    ledger.add_job(whole)
    assert ledger.job(JOB.identity) == JOB
    assert ledger.job(whole.identity) == whole
    assert ledger.job("nobody") is None


def test_a_unit_is_begun_and_published(ledger: Ledger) -> None:
    """The record says which attempt made which part, when, and how long it took in all."""
    assert ledger.begin(UNIT) == 1
    assert ledger.done(JOB.identity) == frozenset()
    assert ledger.publish(UNIT, 1, ONE) == []
    assert ledger.done(JOB.identity) == {UNIT.identity}
    found = record(ledger)
    assert (found.state, found.part, found.part_blake3, found.rows) == ("done", "one", "1" * 64, 5)
    assert found.latency == pytest.approx(12.0)


def test_only_the_last_attempt_may_publish(ledger: Ledger) -> None:
    """An attempt that was overtaken changes nothing, whether it comes before or after."""
    first, second = ledger.begin(UNIT), ledger.begin(UNIT)
    assert ledger.publish(UNIT, first, ONE) is None
    assert ledger.fail(UNIT, first, "late") is False
    assert record(ledger).state == "running"
    assert ledger.publish(UNIT, second, TWO) == []
    assert ledger.publish(UNIT, first, ONE) is None
    assert (record(ledger).part, record(ledger).error) == ("two", None)


def test_an_attempt_ends_once(ledger: Ledger) -> None:
    """What was published or has failed is not published again by the same attempt."""
    ledger.begin(UNIT)
    assert ledger.publish(UNIT, 1, ONE) == []
    assert ledger.publish(UNIT, 1, TWO) is None
    assert ledger.fail(UNIT, 1, "too late") is False
    assert (record(ledger).part, record(ledger).state) == ("one", "done")


def test_a_part_stays_until_another_takes_its_place(ledger: Ledger) -> None:
    """Later attempts that run, or fail, leave the part and its latency as they are."""
    ledger.publish(UNIT, ledger.begin(UNIT), ONE)
    latency = record(ledger).latency
    attempt = ledger.begin(UNIT)
    assert record(ledger).state == "running"
    assert ledger.done(JOB.identity) == {UNIT.identity}
    assert ledger.fail(UNIT, attempt, "no space")
    kept = record(ledger)
    assert (kept.state, kept.part, kept.error, kept.latency) == (
        "failed",
        "one",
        "no space",
        latency,
    )
    assert ledger.publish(UNIT, ledger.begin(UNIT), TWO) == ["one"]


def test_a_block_that_was_taken_anew_supersedes_what_was_read_before(ledger: Ledger) -> None:
    """Two units over the same frames and pixels are never published at the same time."""
    ledger.publish(UNIT, ledger.begin(UNIT), ONE)
    anew = dataclasses.replace(UNIT, inputs=("another digest",))
    assert ledger.publish(anew, ledger.begin(anew), TWO) == ["one"]
    assert ledger.done(JOB.identity) == {anew.identity}
    assert (record(ledger).state, record(ledger).part) == ("superseded", None)


def test_neighbours_are_not_superseded(ledger: Ledger) -> None:
    """Other blocks, other tiles and other jobs keep their parts."""
    later = dataclasses.replace(UNIT, core=dataclasses.replace(WHOLE, t=Extent(4, 8)))
    beside = dataclasses.replace(UNIT, core=dataclasses.replace(WHOLE, x=Extent(8, 16)))
    other = dataclasses.replace(UNIT, job=dataclasses.replace(JOB, version="1.0.1"))
    ledger.add_job(other.job)
    for number, unit in enumerate((UNIT, later, beside, other)):
        part = dataclasses.replace(ONE, name=f"part {number}")
        assert ledger.publish(unit, ledger.begin(unit), part) == []
    assert [each.label for each in ledger.units(JOB.identity)] == [UNIT.label] * 2 + [later.label]


def test_what_is_written_is_there_when_it_is_opened_again(ledger: Ledger, tmp_path: Path) -> None:
    """Another process sees what was published, and counts attempts on."""
    ledger.publish(UNIT, ledger.begin(UNIT), ONE)
    other = Ledger(tmp_path / "ledger.sqlite", create=False)
    assert other.done(JOB.identity) == {UNIT.identity}
    assert other.begin(UNIT) == 2
    other.close()


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    """The message names the file and the cause, in one line."""
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(LedgerError, match=r"ledger\.sqlite cannot be used: file is not a database"):
        Ledger(tmp_path / "ledger.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(tmp_path / "file" / "ledger.sqlite")
