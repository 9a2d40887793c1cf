"""An acquisition that reduces its frames while the processing of its run is late."""

import logging
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from tests.engine.conftest import WriteRun
from tests.engine.test_keeping_up import serving

from forebay.acquisition import AcquisitionStatus, FrameFlag, acquire, open_run
from forebay.acquisition.control import ControlClient
from forebay.acquisition.control.errors import RequestError
from forebay.acquisition.errors import ControlError
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sources import open_source
from forebay.engine import Algorithm, submit
from forebay.engine.errors import JobError
from forebay.engine.execution.relief import Relief

SECONDS = 120
REDUCED = int(FrameFlag.REDUCED | FrameFlag.OVERLOAD_STEP_1)


class Acquiring:
    """A simulated camera at 10 frames a second, recorded by a thread until it is told to end."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.path = path
        self.begun = threading.Event()
        self._stop = threading.Event()
        given = AcquisitionSettings.model_validate(
            {"frames_per_block": 1, "show_seconds": 0.1, **settings}
        )

        def told(status: AcquisitionStatus) -> None:
            if status.committed:
                self.begun.set()

        def record() -> None:
            with open_source("simulated:shape=16x16", rate=10.0) as source:
                acquire(source, path, settings=given, stop=self._stop, on_status=told)

        self._thread = threading.Thread(target=record)
        self._thread.start()
        assert self.begun.wait(SECONDS)

    def end(self) -> None:
        self._stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def flags(self) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
        """Return the flags of the frames that are committed by now."""
        flags: np.ndarray[tuple[int], np.dtype[np.uint32]] = open_run(self.path).frames.flags.values
        return flags


def until_reduced(run: Acquiring) -> None:
    deadline = time.monotonic() + SECONDS
    while not (run.flags() == REDUCED).any():
        assert time.monotonic() < deadline
        time.sleep(0.05)


DECLARED = {"overload": "reduce", "reduction": {"overload_steps": ["bit-depth:12"]}}


def test_it_is_asked_while_blocks_wait_and_no_longer(tmp_path: Path) -> None:
    """The frames say that they are reduced; nothing of it is for ever."""
    late = threading.Event()

    def slowly(frames: xr.DataArray) -> pd.DataFrame:
        late.wait(SECONDS)
        return pd.DataFrame({"t": frames.t})

    algorithm = Algorithm("slowly", "1.0.0", slowly)
    ledger = tmp_path / "ledger.sqlite"
    run = Acquiring(tmp_path / "run", **DECLARED)
    try:
        job = submit(
            open_run(run.path), algorithm, ledger=ledger, lane="realtime", live=True, reduce_at=5
        )
        with serving(ledger, algorithm, []):
            until_reduced(run)
            assert not run.flags()[0], "the first frames came before anything was late"
            late.set()
            run.end()
            assert job.wait(timeout=SECONDS).state == "done"
    finally:
        late.set()
        run.end()


def test_an_acquisition_without_such_reductions_is_asked_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    late = threading.Event()

    def slowly(frames: xr.DataArray) -> pd.DataFrame:
        late.wait(SECONDS)
        return pd.DataFrame({"t": frames.t})

    algorithm = Algorithm("slowly", "1.0.0", slowly)
    ledger = tmp_path / "ledger.sqlite"
    run = Acquiring(tmp_path / "run")
    why = "the acquisition does not reduce its frames for processing: no reductions are declared"
    try:
        job = submit(
            open_run(run.path), algorithm, ledger=ledger, lane="realtime", live=True, reduce_at=2
        )
        with caplog.at_level(logging.WARNING), serving(ledger, algorithm, []):
            deadline = time.monotonic() + SECONDS
            while not any(why in record.getMessage() for record in caplog.records):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            late.set()
            run.end()
            assert job.wait(timeout=SECONDS).state == "done"
        assert sum(why in record.getMessage() for record in caplog.records) == 1
    finally:
        late.set()
        run.end()


def test_what_was_asked_for_ends_by_itself(tmp_path: Path) -> None:
    """Whoever asked may have died."""
    run = Acquiring(tmp_path / "run", **DECLARED)
    try:
        with ControlClient(open_run(run.path).run_id) as client:
            deadline = time.monotonic() + SECONDS
            while not (run.flags() == REDUCED).any():
                # Where the machine stands still, it may be over before a frame comes.
                client.request("reduce", level=8, seconds=0.5)
                assert time.monotonic() < deadline
            while run.flags()[-1] == REDUCED:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        run.end()


def test_it_has_to_be_declared(tmp_path: Path) -> None:
    run = Acquiring(tmp_path / "run")
    try:
        with (
            ControlClient(open_run(run.path).run_id) as client,
            pytest.raises(RequestError, match="no reductions are declared for times of overload"),
        ):
            client.request("reduce", level=1)
    finally:
        run.end()


def test_only_a_live_job_can_ask_for_it(write_run: WriteRun, tmp_path: Path) -> None:
    algorithm = Algorithm("nothing", "1.0.0", lambda frames: frames)
    with pytest.raises(JobError, match="it is a number of blocks of a live job"):
        submit(write_run(), algorithm, ledger=tmp_path / "ledger.sqlite", reduce_at=5)


def test_an_acquisition_that_does_not_answer_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine that is too busy to answer within a second is what reductions are for."""
    answers: list[Exception | None] = [
        ControlError("it does not answer"),
        ControlError("it does not answer"),
        None,
        ControlError("it does not answer"),
        RequestError("no reductions are declared"),
    ]
    asked: list[int] = []

    class Client:
        def __init__(self, run: str, *, timeout: float) -> None: ...

        def request(self, name: str, *, level: int, seconds: float) -> None:
            asked.append(level)
            answer = answers[len(asked) - 1]
            if answer is not None:
                raise answer

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *exc_info: object) -> None: ...

    monkeypatch.setattr("forebay.engine.execution.relief.ControlClient", Client)
    monkeypatch.setattr("forebay.engine.execution.relief._LOOK_SECONDS", 0.0)
    relief = Relief("id of the run", 5)
    while relief.due:
        relief.look(11)
    assert asked == [2] * 5
    told = [record.getMessage() for record in caplog.records]
    assert sum("cannot be asked for reductions now" in each for each in told) == 2
    assert told[-1].endswith("for processing: no reductions are declared")
