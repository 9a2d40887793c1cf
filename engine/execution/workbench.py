"""What a result needs while its units are worked on: run, algorithm, folder, place for parts."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from forebay.acquisition import Block, Run, open_run
from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.history import History
from forebay.engine.definition import Algorithm
from forebay.engine.errors import ResultDamagedError
from forebay.engine.execution.storage import Storage
from forebay.engine.execution.work import KeptState, Order
from forebay.engine.queue.backlog import usual_seconds
from forebay.engine.queue.claims import Claim
from forebay.engine.queue.database import Database
from forebay.engine.queue.ledger import Ledger
from forebay.engine.queue.submission import Target
from forebay.engine.results.folder import ResultFolder
from forebay.engine.unit import Unit, unit_at
from forebay.tiering import open_store

type FindAlgorithm = Callable[[str, str], Algorithm]
"""Returns the algorithm of a name and a version."""


class Workbench:
    """One result that is worked on.

    Parameters
    ----------
    target
        What is wanted, and where.
    database
        Where the ledger is.
    find
        Where algorithms come from.
    storage
        Where run and result lie.
    run
        The run, where it is open already.

    Raises
    ------
    ForebayError
        If the run cannot be read, the folder not written, or the algorithm is unknown.
    """

    def __init__(
        self,
        target: Target,
        database: Database,
        find: FindAlgorithm,
        *,
        storage: Storage,
        run: Run | None = None,
    ) -> None:
        self.target = target
        self.storage = storage
        self._database = database
        self.job = target.job
        self.algorithm = find(self.job.algorithm, self.job.version)
        self._arguments: dict[str, Any] = self.algorithm.arguments(self.job.parameters)
        self.folder = ResultFolder(Path(target.folder))
        self._open = contextlib.ExitStack()
        self.run = open_run(open_store(target.location)) if run is None else run
        self.staging = self._open.enter_context(self.folder.session())
        try:
            self.folder.describe(self.job, self.staging, ledger=database.name)
            self.folder.sweep(lambda: Ledger(database).parts(self.job.identity))
        except BaseException:
            self.close()
            raise
        self.in_flight = 0
        """Units that are being computed."""
        self.idle_since: float | None = None
        """When it was first seen without such a unit; None while there are some."""
        self.seconds: float | None = None
        """How long a unit takes, lately."""
        self._usual = usual_seconds(database, self.job.algorithm, self.job.version)

    def close(self) -> None:
        """Remove what was staged and not published."""
        self._open.close()

    def sweep(self) -> None:
        """Remove what those that have died since it was opened have left behind."""
        with contextlib.suppress(FileNotFoundError):
            self.folder.sweep(lambda: Ledger(self._database).parts(self.job.identity))

    def order(self, claim: Claim) -> Order | None:
        """Return what a worker has to do for a unit; None if the run has no such unit any more."""
        found = self._find(claim) or self._find_behind(claim)
        if found is None:
            return None
        unit, blocks = found
        bare = dataclasses.replace(self.run, history=History())
        return Order(
            unit,
            claim.attempt,
            self.algorithm,
            self._arguments,
            bare,
            blocks,
            self.staging,
            self._state(claim),
            claim.pieces,
            self.estimate,
        )

    def took(self, seconds: float) -> None:
        """Learn how long a unit took."""
        self.seconds = seconds if self.seconds is None else 0.8 * self.seconds + 0.2 * seconds

    @property
    def estimate(self) -> float | None:
        """How long a unit takes, as far as is known."""
        return self._usual if self.seconds is None else self.seconds

    def _state(self, claim: Claim) -> KeptState | None:
        if claim.before is None:
            return None
        part = Ledger(self._database).part(claim.before)
        if part is None:
            raise ResultDamagedError(
                f"the part of frame {claim.start - 1}, with whose state the unit {claim.label} of "
                f"{self.folder.path} goes on, is not published any more"
            )
        return KeptState(self.folder.parts / part[0], part[1])

    def _find_behind(self, claim: Claim) -> tuple[Unit, Sequence[Block]] | None:
        """Return the same of the run as it is by now."""
        # Another service may have planned it: most often the run has grown, and is no other one.
        with contextlib.suppress(RunDamagedError):
            self.run = self.run.refresh()
            if (found := self._find(claim)) is not None:
                return found
        self.run = open_run(open_store(self.target.location))
        return self._find(claim)

    def _find(self, claim: Claim) -> tuple[Unit, Sequence[Block]] | None:
        found = unit_at(
            self.run, self.job, start=claim.start, y=claim.y, x=claim.x, before=claim.before
        )
        return found if found is not None and found[0].identity == claim.unit else None
