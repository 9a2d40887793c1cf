"""An attempt at a unit is made once, however often a cluster begins it."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.cluster.keeping.time_left import TimeLeft
from forebay.engine import Algorithm
from forebay.engine.execution import work
from forebay.engine.execution.notes import WORKER_DIED, AttemptNotes, Computed, Failed, NotBegun
from forebay.engine.execution.work import Order, compute_unit, compute_units
from forebay.engine.queue.retry import Failure, FailureClass
from forebay.engine.results.part import Part
from forebay.engine.unit import Job, plan

BEGUN: list[int] = []


def counted(frames: xr.DataArray, *, bad: int = -1) -> pd.DataFrame:
    """Note that it is begun; fail at one unit, and end the worker's thread at the next."""
    first = int(frames.t[0])
    BEGUN.append(first)
    if first == bad:
        raise ValueError("too dark")
    if first == bad + 4 > 4:
        raise KeyboardInterrupt
    return pd.DataFrame({"t": frames.t})


@pytest.fixture
def orders(write_run: WriteRun, tmp_path: Path) -> list[Order]:
    """The orders for the three units of a run."""
    BEGUN.clear()
    algorithm = Algorithm("counted", "1.0.0", counted)
    run = write_run(frames=12, frames_per_block=4)
    job = Job.of(run, algorithm, {})
    (staging := tmp_path / "staging").mkdir()
    return [Order(unit, 1, algorithm, {}, run, blocks, staging) for unit, blocks in plan(run, job)]


def test_what_was_computed_is_not_computed_again(orders: list[Order]) -> None:
    """Whether it has come to a part or to a failure, and until it is recorded."""
    orders[1] = replace(orders[1], arguments={"bad": 4})
    first = compute_units(orders)
    assert [type(each) for each in first] == [Computed, Failed, Computed]
    assert compute_units(orders) == first
    assert BEGUN == [0, 4, 8]
    assert sorted(path.suffix for path in orders[0].staging.iterdir()).count(".ended") == 3
    orders[0].notes.forget()
    assert orders[0].notes.outcome() is None
    compute_unit(replace(orders[1], attempt=2))
    assert BEGUN == [0, 4, 8, 4]


def test_under_whom_a_worker_died_is_not_begun_again(orders: list[Order]) -> None:
    """A worker that writes down that it begins, and is not heard of again, has died at it."""
    left = orders[0].notes.making("tcp://127.0.0.1:5")
    left.__enter__()
    died = Failure(FailureClass.WORKER_LOST, WORKER_DIED, worker="tcp://127.0.0.1:5")
    assert compute_unit(orders[0]) == Failed(died)
    assert BEGUN == []


@pytest.mark.parametrize(("seconds", "begun"), [(None, [0]), (50.0, [0]), (70.0, [])])
def test_what_takes_longer_than_its_worker_lasts_is_not_begun(
    orders: list[Order], monkeypatch: pytest.MonkeyPatch, seconds: float | None, begun: list[int]
) -> None:
    """No note says that it was."""
    monkeypatch.setattr(work, "time_left", lambda: TimeLeft(60.0, life=3600.0))
    outcome = compute_unit(replace(orders[0], seconds=seconds))
    assert begun == BEGUN
    if not begun:
        assert outcome == NotBegun("its worker has 60 s left, and it takes 70 s")
        assert list(orders[0].staging.iterdir()) == []


def test_what_ends_the_worker_itself_leaves_no_note(orders: list[Order]) -> None:
    last = replace(orders[2], arguments={"bad": 4})
    with pytest.raises(KeyboardInterrupt):
        compute_unit(last)
    assert list(last.staging.iterdir()) == []


class Panic(BaseException):
    """What compiled code raises at its own mistakes: no `Exception`."""


@pytest.mark.parametrize("raised", [SystemExit(3), Panic("index out of bounds")], ids=repr)
def test_an_algorithm_that_would_end_its_worker_has_failed(
    orders: list[Order], raised: BaseException
) -> None:
    """Taken for the worker's end it would be tried for ever, and end one worker each time."""

    def ending(frames: xr.DataArray) -> pd.DataFrame:
        raise raised

    outcome = compute_unit(replace(orders[0], algorithm=Algorithm("ending", "1.0.0", ending)))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureClass.RAISED
    assert outcome.failure.error == f"{type(raised).__name__}: {raised}"
    assert orders[0].notes.outcome() == outcome


def test_one_that_ends_while_it_is_asked_for_is_not_begun(tmp_path: Path) -> None:
    """The look whether it is begun comes too late, and the one whether it has ended does not."""
    notes = AttemptNotes.of("unit", 1, tmp_path)
    with notes.making(None) as making:
        making.end(Computed(Part("part", "digest", 1, None), 0.5))
    with pytest.raises(FileExistsError), notes.making(None):
        pass
    assert notes.outcome() == Computed(Part("part", "digest", 1, None), 0.5)
    assert notes.seconds() is None


def test_notes_in_a_folder_that_has_become_read_only_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded already is no reason to end a service; they go with the folder."""
    notes = AttemptNotes.of("unit", 1, tmp_path)

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with notes.making("tcp://worker") as making:
        with monkeypatch.context() as read_only:
            read_only.setattr(Path, "touch", refused)
            assert notes.seconds() is None
        assert notes.seconds() is not None
        making.end(Computed(Part("part", "digest", 1, None), 0.5))
    with monkeypatch.context() as read_only:
        read_only.setattr(os, "unlink", refused)
        notes.forget()
    assert notes.outcome() is not None
    notes.forget()
    assert notes.outcome() is None


def test_a_folder_that_cannot_be_written_is_said(orders: list[Order]) -> None:
    gone = replace(orders[0], staging=orders[0].staging / "gone")
    outcome = compute_unit(gone)
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureClass.INPUT_OUTPUT
    assert "workers and this process must see the same folder" in outcome.failure.error
