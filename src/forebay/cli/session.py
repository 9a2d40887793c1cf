"""What the commands of one call share: the settings, where runs lie, and who gives them."""

import functools
import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from forebay.acquisition import Run
    from forebay.config import Loaded, Settings

RunsOption = Annotated[
    Path | None,
    typer.Option("--runs", help="Folder of the runs; else the setting 'runs', else this folder."),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        help="Folder of the results; else the setting 'results', else 'results' in the folder "
        "that the run is named from.",
    ),
]
SharedResultsOption = Annotated[
    Path | None,
    typer.Option(
        "--results",
        help="Folder of the results; else the setting 'results', else 'results' in the folder of "
        "the runs.",
    ),
]
LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        help="Path or URL of the queue and ledger; else the setting 'engine.ledger', else "
        "'ledger.sqlite' in the folder of the results.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for machines: one object on each line.")
]


class Session:
    """One call of the command line."""

    def __init__(self, config: Path | None) -> None:
        """Remember where the configuration is; it is read when it is first asked for."""
        self._config = config

    @functools.cached_property
    def loaded(self) -> "Loaded":
        """The settings and where each comes from."""
        from forebay.config import load_settings
        from forebay.tiering import ReadCache, read_through

        loaded = load_settings(self._config)
        cache = loaded.settings.tiering.cache
        read_through(
            None if cache is None else ReadCache(cache.folder.absolute(), int(cache.capacity))
        )
        return loaded

    @property
    def settings(self) -> "Settings":
        """The settings in force."""
        return self.loaded.settings

    def runs(self, given: Path | None) -> Path:
        """Return the folder of the runs."""
        return self.settings.runs if given is None else given

    def results(self, given: Path | None) -> Path | None:
        """Return the folder of the results; None for that of the run."""
        return self.settings.results if given is None else given

    def results_of(
        self, run: "Run", called: str, given: Path | None, runs: Path | None
    ) -> Path | None:
        """Return the folder of the results of a run; None for the one that its own name tells."""
        folder = self.results(given)
        if folder is not None or _is_place(called) or called == run.name:
            return folder
        # It has another name in this folder of runs than the one that it was recorded under.
        return self.shared_results(None, runs)

    def shared_results(self, given: Path | None, runs: Path | None) -> Path:
        """Return the folder of the results of jobs over several runs."""
        folder = self.results(given)
        return (self.runs(runs) / "results" if folder is None else folder).absolute()

    def common_ledger(self, given: str | None) -> Path | str | None:
        """Return the ledger that is named; None for the one in the folder of the results."""
        from forebay.engine.execution.wanted import ledger_at

        named = self.settings.engine.ledger if given is None else given
        return None if named is None else ledger_at(named)

    def ledger(self, given: str | None, results: Path | None, runs: Path | None) -> Path | str:
        """Return the queue and ledger that a command means."""
        from forebay.engine.execution.wanted import ledger_at

        return self.common_ledger(given) or ledger_at(None, self.shared_results(results, runs))

    def location(self, run: str, runs: Path | None) -> str | Path:
        """Return where a run lies that is given by its name, its path or its URL.

        A path begins with ``/``, ``./``, ``../`` or ``~``; anything else is a name in the folder
        of the runs, also one that another program has given.
        """
        from forebay.acquisition.format.layout import CONTROL

        if _is_place(run):
            return run if "://" in run else Path(run).expanduser()
        there = self.runs(runs) / run
        if ".." not in there.parts and (there / CONTROL).is_dir():
            return there
        return self.target(run, runs)

    def target(self, name: str, runs: Path | None) -> Path:
        """Return the folder of a run by its name.

        Raises
        ------
        RunNameError
            If it is no name, or one that would lead out of the folder of the runs.
        """
        from forebay.acquisition.format.layout import check_run_name

        return self.runs(runs) / check_run_name(name)


def _is_place(run: str) -> bool:
    """Tell whether a run is given by its path or URL, not by its name."""
    return "://" in run or run in {".", ".."} or run.startswith(("/", "./", "../", "~"))


def session(context: typer.Context) -> Session:
    """Return the session of a command."""
    found = context.find_object(Session)
    if found is None:
        raise RuntimeError("the command was called without its application")
    return found


def user_name() -> str:
    """Return the name of who gives a command, as others are told it."""
    return user() or "somebody"


def user() -> str:
    """Return the name of who calls; nothing where that is not known."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
