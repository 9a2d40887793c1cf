"""One value that somebody gave: the entry, and the sources that entries are read from."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic_settings import EnvSettingsSource, SettingsError

from forebay.config.errors import ConfigError
from forebay.config.settings import Key, Settings
from forebay.engine.suggestion import nearest

FILE_VARIABLE = "FOREBAY_CONFIG"
"""The variable that names the configuration file; no setting."""

_PREFIX = "FOREBAY_"


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it was given, or a table (its value is an empty dict)."""

    value: Any
    """What was given."""
    source: str
    """Who gave it: a variable's name, or a file's path and line."""
    folder: Path | None = None
    """Where relative paths in it start, if not in the current folder."""
    sources: Mapping[Key, str] = MappingProxyType({})
    """Of a list of tables: who gave each of them, and what is in it, by the keys below the list's."""

    @property
    def is_table(self) -> bool:
        """Whether it says no more than that there is such a table."""
        return isinstance(self.value, dict)

    def within(self, key: Key) -> "Iterator[tuple[Key, Entry]]":
        """Iterate over the tables in a list, and what they hold, each as an entry of its own.

        The number of a table, from 0, is a part of the keys.
        """
        for below, value in _in_lists(self.value, ()):
            yield (*key, *below), Entry(value, self.sources.get(below, self.source))


def from_file(path: Path) -> dict[Key, Entry]:
    """Read a configuration file.

    Raises
    ------
    ConfigError
        If it cannot be read or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text, as TOML is") from error
    except tomllib.TOMLDecodeError as error:
        what, line = _where_broken(str(error), text)
        raise ConfigError(f"{path}:{line}: not TOML: {what}") from error
    sources = {key: f"{path}:{line}" for key, line in key_lines(text).items()}
    return {
        key: Entry(
            value,
            sources[key],
            path.parent.absolute(),
            {below: sources[*key, *below] for below, _ in _in_lists(value, ())},
        )
        for key, value in nodes(document)
    }


def from_environment(environ: Mapping[str, str]) -> dict[Key, Entry]:
    """Read the variables that begin with ``FOREBAY_``.

    Raises
    ------
    ConfigError
        If a variable is no setting's, or a list in it is not JSON.
    """
    entries: dict[Key, Entry] = {}
    source = EnvSettingsSource(Settings)
    # In order of length, so that FOREBAY_ENGINE as JSON gives way to FOREBAY_ENGINE__CLUSTER.
    for name in sorted(environ, key=lambda name: (len(name), name)):
        if not name.startswith(_PREFIX) or name == FILE_VARIABLE or not environ[name]:
            continue
        source.env_vars = {name.lower(): environ[name]}
        try:
            values = source()
        except SettingsError as error:
            raise ConfigError(
                f"{name} = {environ[name]!r} is not JSON, which lists and tables are given as: "
                '["a", "b"]'
            ) from error
        if not values:
            known = [_PREFIX + field.upper() for field in Settings.model_fields]
            raise ConfigError(
                f"{name}: there is no such setting; variables begin with "
                f"{', '.join(known)}{nearest(name.partition('__')[0], [*known, FILE_VARIABLE])}"
            )
        for key, value in nodes(values):
            entry = Entry(value, name)
            if not (entry.is_table and key in entries):
                entries[key] = entry
    return entries


def nodes(branch: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Iterate over the tables, as empty dicts, and the values in nested dicts."""
    for name, value in branch.items():
        key = (*above, name)
        if isinstance(value, dict):
            yield key, {}
            yield from nodes(value, key)
        else:
            yield key, value


def _in_lists(value: Any, above: Key) -> Iterator[tuple[Key, Any]]:
    """Iterate over the tables of a list, and what they hold, by their keys below the list's."""
    if isinstance(value, list):
        for number, each in enumerate(value):
            if isinstance(each, dict):
                key = (*above, str(number))
                yield key, {}
                yield from nodes(each, key)


def key_lines(text: str) -> dict[Key, int]:
    r"""Return the line on which each table and each value of a TOML text begins.

    So it does of the tables in a list, which are called by their numbers, from 0.

    A statement of TOML ends with its line or goes on in brackets or quotes that are still open;
    so the text up to a line can be parsed exactly where a statement ends, and what is new in it
    is what that statement says.

    Examples
    --------
    >>> key_lines('a = 1\n[b]\nc = [\n  2,\n]\nd.e = 3')
    {('a',): 1, ('b',): 2, ('b', 'c'): 3, ('b', 'd'): 6, ('b', 'd', 'e'): 6}
    """
    found: dict[Key, int] = {}
    lines = text.split("\n")
    begin = 1
    for end in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue
        for key, value in nodes(document):
            for each in (key, *(below for below, _ in _in_lists(value, key))):
                found.setdefault(each, begin)
        begin = end + 1
    return found


def _where_broken(said: str, text: str) -> tuple[str, int]:
    what, _, place = said.rpartition(" (at ")
    line = re.match(r"line (\d+)", place)
    return what, int(line[1]) if line else text.rstrip().count("\n") + 1
