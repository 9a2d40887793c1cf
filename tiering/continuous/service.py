"""The service that moves runs by itself, beside whatever else its process does."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, Self

from forebay.acquisition.control import running_acquisitions
from forebay.errors import ForebayError
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.migrating import Database
from forebay.tiering.catalogue.moves import Moves
from forebay.tiering.catalogue.places import tiers_as_known
from forebay.tiering.continuous.filling import Filling, FillingWatch
from forebay.tiering.continuous.outlook import expected_bytes, outlooks
from forebay.tiering.continuous.rule import Allowed, Situation, allowed
from forebay.tiering.errors import MoveRefusedError
from forebay.tiering.moving.circuits import Circuits
from forebay.tiering.moving.mover import Mover
from forebay.tiering.moving.open_runs import OpenRuns
from forebay.tiering.moving.pace import Pace
from forebay.tiering.moving.work import NoWork, Work
from forebay.tiering.scan import take_in_runs
from forebay.tiering.specification import TieringSettings, TierSpecification
from forebay.tiering.wanted import wanted_now

_LOOK_SECONDS = 1.0
_ASKED_AT_ONCE = 1000
"""Moves that are asked for before it is decided anew; each is a transaction of its own."""
_STOP_SECONDS = 60.0
"""How long the object that is being copied may take to be finished."""

_log = logging.getLogger("forebay.tiering")

type Recordings = Callable[[], Sequence[Mapping[str, Any]]]
"""Gives the status of each recording on this machine."""


class Beside(Work, Protocol):
    """What is moved beside runs, and the work on both."""

    def take_in(self) -> list[str]:
        """Take it into the catalogue as it is now; return what cannot be, and why."""


def _none_waits() -> bool:
    """Know of no work."""
    return False


class ContinuousMoving:
    """Moves runs as policies say, from the beginning of a ``with`` block until it is told to stop.

    One thread looks from time to time what is to be moved, one moves it, and one looks each second
    what has to be given way to, and sets the pace.  Whatever goes wrong is said once, and tried
    again; several of these may work on one catalogue.

    Parameters
    ----------
    database
        Where the catalogue is kept.
    specifications
        The tiers, by name.
    settings
        How runs are moved; `interval_seconds` must be given.
    stop
        Ends it when it is set, after the object that is being copied; the end of the block sets it.
    realtime_waits
        Tells whether real-time work waits to be computed.
    recordings
        Tells of the recordings on this machine.
    beside
        What is moved beside runs.
    """

    def __init__(
        self,
        database: Database,
        specifications: Mapping[str, TierSpecification],
        settings: TieringSettings,
        *,
        stop: threading.Event,
        realtime_waits: Callable[[], bool] = _none_waits,
        recordings: Recordings = running_acquisitions,
        beside: Beside | None = None,
    ) -> None:
        self._specifications = specifications
        self._settings = settings
        self._stop = stop
        self._realtime_waits = realtime_waits
        self._recordings = recordings
        self._beside = beside
        self._catalogue = Catalogue(database)
        self._tiers = tiers_as_known(self._catalogue, specifications)
        self._moves = Moves(database)
        self._watch = FillingWatch(self._tiers, self._catalogue)
        self._open_runs = OpenRuns(self._catalogue, self._tiers, settings)
        self._fillings: Mapping[str, Filling] = {}
        self._searching = threading.Lock()
        self._pace = Pace()
        self._circuits = Circuits(self._tiers)
        self._mover = Mover(
            database,
            self._tiers,
            settings,
            stop=stop,
            pace=self._pace,
            avoided=lambda: self._circuits.open,
            failed=self._circuits.failed,
            work=NoWork() if beside is None else beside,
        )
        self._decided = threading.Event()
        self._told: dict[str, str] = {}
        # Storage that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=each, name=f"forebay-{name}", daemon=True)
            for name, each in (
                ("pace", self._keep_pace),
                ("deciding", self._keep_deciding),
                ("moving", self._keep_moving),
            )
        ]

    def set_pace(self) -> Allowed:
        """Look what has to be given way to, and let moves go as fast as they may."""
        with self._searching:
            self._fillings = self._watch.look()
        found = allowed(
            Situation(
                outlooks=outlooks(self._catalogue, self._tiers, self._fillings),
                flows=[str(each["flow"]) for each in self._recordings()],
                realtime_waits=self._realtime_waits(),
            ),
            gentle=self._settings.recording_bandwidth,
            grace_seconds=self._settings.grace_seconds,
        )
        self._pace.set(found.bytes_per_second)
        return found

    def decide(self) -> None:
        """Take in what can move, ask for what policies want, and try out tiers that failed."""
        others = [] if self._beside is None else self._beside.take_in()
        with self._searching:
            self._watch.search(avoided=self._circuits.open)
            self._watch.look()
            open_runs = self._watch.open_runs
        passed_over = take_in_runs(
            self._catalogue, self._tiers, open_runs=open_runs, avoided=self._circuits.open
        )
        for each in (*passed_over, *self._open_runs.take_in_all(open_runs), *others):
            _log.info("passed over: %s", each)
        with self._searching:
            self._fillings = self._watch.look()
        self._circuits.look()
        self._ask()

    def move(self) -> None:
        """Move what is due."""
        self._mover.work()

    def _ask(self) -> None:
        """Ask for the moves that policies want, as far as they are not under way."""
        wanted, limit = wanted_now(
            self._catalogue,
            self._specifications,
            self._settings,
            expected=expected_bytes(self._tiers, self._fillings, self._settings),
        )
        for each in islice(wanted, _ASKED_AT_ONCE):
            try:
                self._moves.plan(
                    each.run,
                    tier=each.target,
                    keep=each.keep,
                    why=each.why,
                    source=each.source,
                )
            except MoveRefusedError as error:
                _log.info("passed over: %s", error)
        for said in limit.told():
            _log.info("%s", said)

    def _keep_pace(self) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            self._trying("the pace of moves stays as it is", self.set_pace)
        # Nobody has to wait any more.
        self._pace.set(float("inf"))

    def _keep_deciding(self) -> None:
        while not self._stop.is_set():
            self._trying("policies decide on nothing", self.decide)
            self._decided.set()
            self._stop.wait(self._settings.interval_seconds)
        self._decided.set()

    def _keep_moving(self) -> None:
        while not self._stop.is_set():
            self._decided.wait()
            self._decided.clear()
            self._trying("nothing is moved between tiers", self.move)

    def _trying(self, what: str, do: Callable[[], object]) -> None:
        """Do something, and say once what is wrong if it fails; it is done again anyway."""
        try:
            do()
        except (ForebayError, OSError) as error:
            said = " ".join(str(error).split())
            if self._told.get(what) != said:
                self._told[what] = said
                _log.warning("%s: %s", what, said)
        else:
            if self._told.pop(what, None) is not None:
                _log.warning("that is over: %s", what)

    def __enter__(self) -> Self:
        """Move within the block."""
        self._trying("the pace of moves stays as it is", self.set_pace)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._decided.set()
        for thread in self._threads:
            thread.join(_STOP_SECONDS)
