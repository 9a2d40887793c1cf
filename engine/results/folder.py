"""The folder of a result: its description, parts that are being made, and published parts."""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forebay.acquisition import durable
from forebay.acquisition.format.layout import check_run_name
from forebay.engine.errors import ResultDamagedError, ResultLedgerError, ResultStorageError
from forebay.engine.results.provenance import environment
from forebay.engine.unit import Job, Unit

DESCRIPTION = "result.json"
LEDGER = "ledger.sqlite"
PARTS = "parts"
STAGING = "staging"

_LOCK = "lock"

_log = logging.getLogger("forebay.engine")


@dataclass(frozen=True, slots=True)
class ResultFolder:
    """Where the parts of a job lie.

    A part is made in a folder below ``staging`` that one call of `process` has for itself, moved
    to ``parts``, and published by the ledger's entry.  What the ledger does not name is no part,
    wherever it lies; once the call that made it has ended, however it ended, `sweep` removes it.
    """

    path: Path
    """The folder."""

    @classmethod
    def of(cls, results: Path, job: Job) -> "ResultFolder":
        """Return the folder of a job among `results`."""
        run = check_run_name(job.run_name)
        return cls(results / run / f"{job.algorithm}-{job.version}-{job.identity[:8]}")

    @property
    def staging(self) -> Path:
        """Where parts are made."""
        return self.path / STAGING

    @property
    def parts(self) -> Path:
        """Where published parts lie."""
        return self.path / PARTS

    @property
    def begun(self) -> bool:
        """Whether somebody has begun to compute the result."""
        return os.path.isfile(self.path / DESCRIPTION)  # noqa: PTH113 (False where it is hidden)

    @property
    def ledger(self) -> Path | str:
        """The ledger that says which parts are published: a path, or the URL of a database."""
        described = self._described()
        return self._ledger(described, str(described.get("run_name", "")))

    def ledger_for(self, job: Job) -> Path | str:
        """Return the ledger of the result of a job, which may have to be made yet."""
        return self._ledger(self._described(), job.run_name)

    def results(self, run: str) -> Path:
        """Return the folder of all results, as that of a run of this name lies in it."""
        return self.path.parents[1 + run.count("/")]

    def _ledger(self, described: dict[str, Any], run: str) -> Path | str:
        elsewhere = described.get("ledger")
        if isinstance(elsewhere, str):
            return elsewhere if "://" in elsewhere else Path(elsewhere)
        return self.results(run) / LEDGER

    def _described(self) -> dict[str, Any]:
        try:
            described = json.loads((self.path / DESCRIPTION).read_bytes())
        except (OSError, ValueError):
            return {}
        return described if isinstance(described, dict) else {}

    @contextlib.contextmanager
    def session(self) -> Iterator[Path]:
        """Make a folder for what is staged within the block; it goes with the block."""
        with _storage_errors(self.path):
            for folder in (self.parts, self.staging):
                durable.make_folders(folder)
            staging, lock = self._locked_folder()
        try:
            yield staging
        finally:
            _remove(staging)
            os.close(lock)

    def _locked_folder(self) -> tuple[Path, int]:
        while True:
            folder = self.staging / uuid.uuid4().hex[:_SESSION]
            folder.mkdir()
            with contextlib.suppress(FileNotFoundError):
                lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                fcntl.flock(lock, fcntl.LOCK_EX)
                # Before it was locked, somebody's sweep may have taken it for a dead one's.
                if os.fstat(lock).st_nlink:
                    return folder, lock
                os.close(lock)

    def describe(self, job: Job, staging: Path, *, ledger: str) -> None:
        """Write into the folder, once, what it is the result of, and who says what it holds."""
        target = self.path / DESCRIPTION
        with _storage_errors(self.path):
            if not target.is_file():
                content = {"format_version": 1, "job": job.identity, **asdict(job)}
                if ledger != str(self.results(job.run_name) / LEDGER):
                    content["ledger"] = ledger
                text = json.dumps({**content, "environment": environment()}, indent=1)
                durable.replace(staging / DESCRIPTION, target, text.encode())
        self.check(job, ledger=ledger)

    def check(self, job: Job, *, ledger: Path | str | None = None) -> None:
        """Refuse a folder that says that it is the result of something else.

        Parameters
        ----------
        job
            What it is to be the result of.
        ledger
            Where its parts are to be entered; wherever they are, if not given.

        Raises
        ------
        ResultDamagedError
            If it does.
        ResultLedgerError
            If its parts are entered in another ledger.
        """
        target = self.path / DESCRIPTION
        if not target.is_file():
            return
        if self.job_identity() != job.identity:
            raise ResultDamagedError(
                f"{target} is that of another job; move {self.path} away and run it again"
            )
        if ledger is not None and _place(ledger) != _place(self.ledger):
            # Its parts are unknown there: they would be computed once more, and swept away.
            raise ResultLedgerError(
                f"the parts of {self.path} are entered in the ledger {self.ledger}, not in "
                f"{ledger}: use that one (--ledger), or another folder (--results)"
            )

    def job_identity(self) -> str | None:
        """Return the identity of the job that the folder is the result of, if it says so."""
        try:
            return str(json.loads((self.path / DESCRIPTION).read_bytes())["job"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
            return None

    def take_in(self, staging: Path, names: Iterable[str]) -> set[str]:
        """Move parts that were made to their place; return the names of those that were there."""
        taken = set()
        parts = str(self.parts)
        with _storage_errors(self.path):
            for name in names:
                # No `Path`: that interns a name that is used once, and CPython 3.12 keeps it.
                with contextlib.suppress(FileNotFoundError):
                    os.rename(f"{staging}/{name}", f"{parts}/{name}")  # noqa: PTH104
                    taken.add(name)
            if taken:
                durable.flush_folder(parts)
        return taken

    def discard(self, name: str) -> None:
        """Remove a part that is not, or no longer, published."""
        _remove(f"{self.parts}/{name}")

    def sweep(self, published: Callable[[], frozenset[str]]) -> None:
        """Remove what sessions that have ended have left behind.

        Parameters
        ----------
        published
            Returns the parts that the ledger names.
        """
        # The order matters: a part that is found is of a call that still runs, or in the ledger.
        found = os.listdir(self.parts)  # noqa: PTH208
        sessions = list(self.staging.iterdir())
        running = {session.name for session in sessions if not _remove_session(session)}
        named = published()
        for name in found:
            if name not in named and _session_of(name) not in running:
                self.discard(name)


_SESSION = 8
_IDENTITY = 12
"""How much of their identities goes into the names of sessions and parts."""


def new_part_name(unit: Unit, staging: Path) -> str:
    """Return a name for a part that no other has: Dask may make an attempt twice."""
    return part_name(unit.label, unit.identity, staging)


def part_name(label: str, identity: str, staging: Path) -> str:
    """Return such a name for the part of a unit, given its label and its identity."""
    return f"{label}-{identity[:_IDENTITY]}.{staging.name}.{uuid.uuid4().hex[:8]}"


def _place(ledger: Path | str) -> tuple[object, ...]:
    """Return what tells one ledger from another, however it is written."""
    if isinstance(ledger, str) and "://" in ledger:
        # A worker has no ledger, and is spared what takes long to import.
        from sqlalchemy import make_url

        url = make_url(ledger)
        if url.get_backend_name() != "sqlite":
            return url.host, url.port, url.database
        ledger = str(url.database)
    return (os.path.realpath(ledger),)


def _session_of(part: str) -> str:
    return part.rpartition(".")[0].rpartition(".")[2]


def _remove_session(folder: Path) -> bool:
    """Remove the folder of a session that has ended; False if it may not have."""
    try:
        # Made where it is missing: only who holds it may remove the folder.
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except NotADirectoryError:
        _remove(folder)
        return True
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(lock).st_nlink:
            return False
        _remove(folder)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _remove(path: str | Path) -> None:
    """Remove a folder or file; what cannot be removed now is left to a later sweep."""
    try:
        if os.path.isdir(path):  # noqa: PTH112
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("cannot remove %s: %s", path, error)


@contextlib.contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultStorageError(
            f"cannot write the result {path}: {error.strerror or error}; mend that and run it "
            "again, what is published stays"
        ) from error
