"""A place to break things at: runs, a ledger, services as processes, and what must hold after."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import sqlalchemy as sa
from tests.engine.faults import algorithms
from tests.engine.faults.algorithms import HARMFUL
from tests.tracebacks import TRACEBACK
from tests.warmed import TOLD

from forebay.acquisition import Run
from forebay.engine import SubmittedJob, open_result, submit
from forebay.engine.errors import JobInterruptedError
from forebay.engine.queue.database import Database
from forebay.engine.queue.jobs import Jobs
from forebay.engine.queue.schema import ATTEMPTS, SERVICES, UNITS

FRAMES = 4
"""Frames of a block, and so of a unit."""
PATIENCE = 150.0
"""Seconds after which what does not happen is taken to never happen."""

type Expected = Callable[[Run], pd.DataFrame]


def until(happens: Callable[[], Any], what: str, *, seconds: float = PATIENCE) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := happens()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.01)
    return value


def in_session(leader: int) -> list[psutil.Process]:
    """Return the processes that live in the session of a process that has led one."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(each.pid) == leader and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def with_own_mounts(script: str, place: Path) -> list[str]:
    """Return what a command begins with that is to see other file systems at a place.

    Parameters
    ----------
    script
        What mounts them, for ``sh``; ``$0`` is the place, and ``"$@"`` the command.
    """
    isolated = ["unshare", "-rm"]
    inside = [*isolated, "mount", "-t", "tmpfs", "none", str(place)]
    may = (
        shutil.which("unshare")
        and not subprocess.run(inside, capture_output=True, check=False).returncode
    )
    if not may:
        pytest.skip("this system does not let its users mount a file system of their own")
    return [*isolated, "sh", "-c", script, str(place)]


class Process:
    """A command of forebay, as a process that leads a session of its own.

    Parameters
    ----------
    words
        The command line behind ``forebay``.
    folder
        Where it runs.
    before
        What the command line begins with.
    warmed
        Where the programs are that do not import again what they need; nothing that stands before
        them would be for the command.
    """

    def __init__(
        self,
        words: Iterable[object],
        folder: Path,
        *,
        before: Sequence[str] = (),
        warmed: Path | None = None,
    ) -> None:
        real = [sys.executable, "-m", "forebay"]
        warm = warmed is not None and not before
        begin = [str(warmed / "forebay")] if warmed is not None and warm else [*before, *real]
        number = time.monotonic_ns()
        told = folder / f"process-{number}"
        self._errors = (folder / f"errors-{number}").open("w+b")
        self.process = subprocess.Popen(
            [*begin, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,
            env={**os.environ, TOLD: str(told)} if warm else None,
            text=True,
            start_new_session=True,
        )
        self.pid = self.process.pid
        if warm:
            self.pid = int(until(lambda: told.exists() and told.read_text(), "its process id"))
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                self.events.append(json.loads(line))

    @property
    def errors(self) -> str:
        """What it has written to stderr."""
        return Path(self._errors.name).read_text()

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return the events of a kind that it has told of."""
        return [each for each in list(self.events) if each["event"] == event]

    def wait_for(self, event: str, number: int = 1) -> None:
        """Wait until it has told so many events of a kind."""

        def told() -> bool:
            assert self.process.poll() is None, self.errors
            return len(self.told(event)) >= number

        until(told, f"{number} {event}; {self.events[-3:]} {self.errors}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it where it stands; nothing of it may go on."""
        assert self.process.poll() is None, self.errors
        self.send(signal.SIGKILL)
        self.process.wait()
        self.nothing_left()

    def end(self) -> int:
        """Ask it to end, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end, and return its exit code."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.standing()) from None
        self._reader.join(PATIENCE)
        # What Dask's own processes log may hold a traceback too, of code that is none of ours.
        assert not [each for each in TRACEBACK.findall(self.errors) if "/forebay/" in each]
        self.nothing_left()
        return code

    def standing(self) -> str:
        """Return what it has written, and where each of its threads stands."""
        if self.process.poll() is None:
            self.send(signal.SIGUSR1)
            until(lambda: "most recent call first" in self.errors, "the stacks of its threads")
        return self.errors

    def nothing_left(self) -> None:
        """Wait until no process is left that it has started."""
        until(lambda: not in_session(self.pid), f"the end of {in_session(self.pid)}")

    def clean_up(self) -> None:
        """End all that is still there of it, whatever has happened."""
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
            self.process.wait()
        for each in in_session(self.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        self._reader.join(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._errors.close()


class Site:
    """A folder with a ledger, results, and services that work on them.

    Parameters
    ----------
    folder
        The folder.
    expected
        Gives the table that comes of a run where nothing is disturbed.
    warmed
        Where the programs are that do not import again what they need.
    ledger
        URL of the ledger; an SQLite file if not given.
    """

    def __init__(
        self,
        folder: Path,
        expected: Expected,
        *,
        warmed: Path | None = None,
        ledger: str | None = None,
    ) -> None:
        self.folder = folder
        self._warmed = warmed
        self.ledger: Path | str = ledger or folder / "results" / "ledger.sqlite"
        self._expected = expected
        self._processes: list[Process] = []
        self._logs = 0
        self._runs: dict[int, list[Run]] = {}
        self.configure()
        self._make_ledger()

    def _make_ledger(self) -> None:
        with Database(self.ledger) as database, database.write() as connection:
            _note_publishing(connection)

    def move_ledger(self, path: Path) -> None:
        """Use another ledger, in a file."""
        self.ledger = path
        self._make_ledger()

    def configure(
        self, engine: Mapping[str, Any] | None = None, cluster: Mapping[str, Any] | None = None
    ) -> None:
        """Write the configuration that services and commands read."""
        settings = {"algorithm_modules": [algorithms.__file__], **(engine or {})}
        local = {"kind": "local", "workers": 2, **(cluster or {})}
        if local["kind"] != "local":
            del local["workers"]
        tables = {"engine": settings, "clusters.chosen": local}
        lines = []
        for name, table in tables.items():
            nested = {key: each for key, each in table.items() if isinstance(each, dict)}
            plain = {key: each for key, each in table.items() if key not in nested}
            lines += [f"[{name}]", *(f"{key} = {json.dumps(plain[key])}" for key in plain)]
            for key, each in nested.items():
                lines += [f"{key}.{own} = {json.dumps(value)}" for own, value in each.items()]
        (self.folder / "forebay.toml").write_text("\n".join(lines))

    def start(self, *words: object, before: Sequence[str] = ()) -> Process:
        """Start a command; it is ended with the site if not before."""
        process = Process(words, self.folder, before=before, warmed=self._warmed)
        self._processes.append(process)
        return process

    def serve(
        self, cluster: str = "none", *, ready: bool = True, before: Sequence[str] = ()
    ) -> Process:
        """Start a service."""
        words = ["serve", "--ledger", self.ledger, "--cluster", cluster, "--json"]
        process = self.start(*words, before=before)
        if ready:
            process.wait_for("ready")
        return process

    def submit(self, *runs: Run, **parameters: Any) -> SubmittedJob:
        """Submit a job over runs."""
        self._logs += 1
        log = str(self.folder / f"log-{self._logs}")
        job = submit(runs, HARMFUL, ledger=self.ledger, results=self.results, log=log, **parameters)
        assert job.number == self._logs
        self._runs[job.number] = list(runs)
        return job

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / "results"

    def begun(self, job: SubmittedJob) -> list[tuple[int, int]]:
        """Return process and first frame of each computation of a job that was begun."""
        return self._noted(job, "begin")

    def computing(self, job: SubmittedJob) -> list[tuple[int, int]]:
        """Return process and first frame of each computation that was begun and has not ended."""
        left = Counter(self._noted(job, "begin")) - Counter(self._noted(job, "end"))
        return list(left)

    def begun_again(self, jobs: Iterable[SubmittedJob]) -> set[str]:
        """Return the units of jobs over one run each that were begun twice; none was more often."""
        found = set()
        for job in jobs:
            (run,) = self._runs[job.number]
            times = Counter(first for _, first in self.begun(job))
            assert set(times.values()) <= {1, 2}, times
            units = {row.start: row.unit for row in self.units_of(job, run)}
            found |= {units[first] for first, number in times.items() if number == 2}
        return found

    def _noted(self, job: SubmittedJob, what: str) -> list[tuple[int, int]]:
        path = self.folder / f"log-{job.number}"
        lines = path.read_text().splitlines() if path.exists() else []
        words = [line.split() for line in lines]
        return [(int(pid), int(first)) for word, pid, first in words if word == what]

    def rows(self, table: sa.Table) -> list[sa.Row[Any]]:
        """Return all rows of a table of the ledger."""
        with Database(self.ledger, create=False) as database, database.read() as connection:
            return list(connection.execute(sa.select(table)))

    def rows_of_units(self) -> list[sa.Row[Any]]:
        """Return all units of the ledger."""
        return self.rows(UNITS)

    def units_of(self, job: SubmittedJob, run: Run) -> list[sa.Row[Any]]:
        """Return the units of a job over a run."""
        with Database(self.ledger, create=False) as database:
            targets = Jobs(database).results(job.number)
        (result,) = [each.job.identity for each in targets if each.job.run_name == run.name]
        return [row for row in self.rows(UNITS) if row.result == result]

    def units(self, state: str) -> dict[str, int]:
        """Return the units in a state, and the number of their last attempt."""
        return {row.unit: row.attempt for row in self.rows(UNITS) if row.state == state}

    def attempts(self, failure: str) -> dict[str, list[int]]:
        """Return the attempts that failed in a way, by unit."""
        found: dict[str, list[int]] = {}
        for row in self.rows(ATTEMPTS):
            if row.failure == failure:
                found.setdefault(row.unit, []).append(row.attempt)
        return found

    def check_ended(self, job: SubmittedJob) -> None:
        """Wait for the end of a job, and check that all of it is done."""
        assert job.wait(timeout=PATIENCE).state == "done", job.progress()

    def check(self, job: SubmittedJob, *, dead: Collection[int] = (), state: str = "") -> None:
        """Check that each unit of a job is published once, whole, and as it should be.

        Parameters
        ----------
        job
            The job.
        dead
            First frames of the units that are dead letters.
        state
            How the job has ended; by whether there are dead letters if not given.
        """
        try:
            record = job.wait(timeout=PATIENCE)
        except JobInterruptedError as error:
            stories = [each.standing() for each in self._processes]
            raise AssertionError(
                "\n".join([str(error), *job.explain().reasons, *stories])
            ) from error
        assert record.state == (state or ("failed" if dead else "done")), job.progress()
        for run in self._runs[job.number]:
            self.check_result(run, self.folder_of(job, run), dead=dead)

    def check_result(self, run: Run, folder: Path, *, dead: Collection[int] = ()) -> None:
        """Check that each unit of a result is published once, whole, and as it should be."""
        result = open_result(folder)
        held = [each for each in result.units if each.state not in {"done", "dead"}]
        assert not held, held
        places = [each.start for each in result.units]
        assert places == [*range(0, run.history.frames, FRAMES)]
        assert {each.start for each in result.failed} == set(dead)
        parts = {each.part for each in result.done}
        until(
            lambda: {each.name for each in (folder / "parts").iterdir()} == parts,
            f"that nothing but {parts} is in {folder}/parts",
        )
        until(
            lambda: not list((folder / "staging").iterdir()),
            f"that nothing is left in {folder}/staging",
        )
        expected = self._expected(run)
        gone = [first + more for first in dead for more in range(FRAMES)]
        expected = expected[~expected["t"].isin(gone)].reset_index(drop=True)
        pd.testing.assert_frame_equal(result.table(), expected, check_exact=True)
        assert set(self.publications().values()) <= {1}

    def folder_of(self, job: SubmittedJob, run: Run) -> Path:
        """Return where the result of a job over a run lies."""
        with Database(self.ledger, create=False) as database:
            folders = [Path(each.folder) for each in Jobs(database).results(job.number)]
        (folder,) = [each for each in folders if each.parent.name == run.name]
        return folder

    def publications(self) -> dict[str, int]:
        """Return how often each unit was published, as the database itself has noted."""
        query = sa.text("SELECT unit, count(*) FROM publications GROUP BY unit")
        with Database(self.ledger, create=False) as database, database.read() as connection:
            return {unit: int(number) for unit, number in connection.execute(query)}

    def check_nobody_is_there(self) -> None:
        """Check that no service is known, once all of them have ended."""
        assert self.rows(SERVICES) == []
        assert [row.unit for row in self.rows(UNITS) if row.holder is not None] == []

    def close(self) -> None:
        """End what is still running."""
        for each in self._processes:
            each.clean_up()


def _note_publishing(connection: sa.Connection) -> None:
    """Let the database note each time that a unit is published, whoever does it."""
    connection.execute(sa.text("CREATE TABLE publications (unit TEXT)"))
    when = "WHEN (NEW.state = 'done' AND NEW.published_at IS DISTINCT FROM OLD.published_at)"
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text(
                "CREATE FUNCTION note_publication() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN INSERT INTO publications VALUES (NEW.unit); RETURN NEW; END'"
            )
        )
        what = "EXECUTE FUNCTION note_publication()"
    else:
        when = when.replace("IS DISTINCT FROM", "IS NOT")
        what = "BEGIN INSERT INTO publications VALUES (NEW.unit); END"
    connection.execute(
        sa.text(f"CREATE TRIGGER published AFTER UPDATE ON units FOR EACH ROW {when} {what}")
    )
