"""Reading the settings from everywhere they may be given."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from forebay.acquisition.plain_path import plain_path
from forebay.acquisition.reduction.steps import StepModel
from forebay.config.errors import ConfigError
from forebay.config.given import FILE_VARIABLE, Entry, from_environment, from_file
from forebay.config.refusal import refusal
from forebay.config.settings import Key, Settings, leaves
from forebay.engine.settings import IN_PROCESS
from forebay.engine.suggestion import nearest

FILE_NAME = "forebay.toml"
"""What a configuration file is called where none is named."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The value of one setting, and who gave it."""

    value: Any
    """What is in force."""
    source: str
    """``default``, a variable's name, or a file's path and line."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings in force."""

    settings: Settings
    """Their values."""
    origins: Mapping[str, Origin] = field(repr=False)
    """Every single one by its dotted key, with where it comes from."""
    file: Path | None
    """The configuration file, if there is one."""


def load_settings(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Loaded:
    """Read the settings: the environment goes before the file, the file before the defaults.

    The variable of a setting is its key in capitals behind ``FOREBAY_``, with ``__`` for each
    dot: ``FOREBAY_ACQUISITION__COMPRESSION``.  A list is given as JSON; an empty variable counts
    as none.  Relative paths in the file start at the file's folder.

    Parameters
    ----------
    path
        The configuration file.  Where it is not given, it is the one that ``FOREBAY_CONFIG``
        names, or the nearest ``forebay.toml`` in `folder` and the folders above, or none.
    environ
        The environment.
    folder
        Where the search begins, by default the current folder.

    Raises
    ------
    ConfigError
        If the file is not there or not TOML, or if a key or a value cannot be used.

    Examples
    --------
    >>> loaded = load_settings(environ={"FOREBAY_RUNS": "/data"}, folder=Path("/"))
    >>> loaded.settings.runs
    PosixPath('/data')
    >>> loaded.origins["runs"].source, loaded.origins["engine.cluster"].source
    ('FOREBAY_RUNS', 'default')
    """
    file = _find(path, environ, (folder or Path.cwd()).absolute())
    entries = from_file(file) if file is not None else {}
    for key, entry in from_environment(environ).items():
        if not (entry.is_table and key in entries):
            entries[key] = entry
    settings = _settings(entries)
    for key, value in leaves(settings):
        if (given := entries.get(key)) is not None and given.folder is not None:
            entries[key] = replace(given, value=_anchored(value, given.folder))
    settings = _settings(entries)
    _check_cluster(settings, entries)
    origins = {
        ".".join(key): Origin(value, entries[key].source if key in entries else "default")
        for key, value in leaves(settings)
    }
    return Loaded(settings, origins, file)


def _find(path: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    if path is not None:
        return _existing(path, "")
    if named := environ.get(FILE_VARIABLE):
        return _existing(Path(named), f"{FILE_VARIABLE}: ")
    places = (place / FILE_NAME for place in (folder, *folder.parents))
    return next((place for place in places if place.is_file()), None)


def _existing(path: Path, who: str) -> Path:
    if not path.is_file():
        raise ConfigError(f"{who}there is no configuration file {path}")
    return path


def _settings(entries: Mapping[Key, Entry]) -> Settings:
    tree: dict[str, Any] = {}
    for key in sorted(entries, key=len):
        table: Any = tree
        for name in key[:-1]:
            table = table[name] if isinstance(table, dict) else None
        # Where a value stands for a table, what would be in the table has no place; the value
        # is what is refused.
        if isinstance(table, dict):
            table[key[-1]] = {} if entries[key].is_table else entries[key].value
    try:
        return Settings(**tree)
    except ValidationError as error:
        raise refusal(error, entries) from error


def _anchored(value: Any, folder: Path) -> Any:
    """Return a value whose relative paths, if it holds any, start at `folder`."""
    if isinstance(value, tuple):
        return tuple(_anchored_element(each, folder) for each in value)
    if not isinstance(value, Path):
        return value
    return plain_path(folder / (value.expanduser() if value.parts[:1] == ("~",) else value))


def _anchored_element(value: Any, folder: Path) -> Any:
    if isinstance(value, StepModel):
        return value.anchored(folder)
    if isinstance(value, str) and value.endswith(".py"):
        return str(_anchored(Path(value), folder))
    return value


def _check_cluster(settings: Settings, entries: Mapping[Key, Entry]) -> None:
    name = settings.engine.cluster
    known = [*settings.clusters, IN_PROCESS]
    if name not in known:
        raise ConfigError(
            f"{entries['engine', 'cluster'].source}: engine.cluster = {name!r} is not in the "
            f"table clusters; there are {', '.join(known)}{nearest(name, known)}"
        )
