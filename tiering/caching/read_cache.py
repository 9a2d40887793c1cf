"""A cache of what was read, in a folder, bounded in bytes and shared by processes.

What is evicted is decided by GreedyDual-Size (P. Cao and S. Irani, "Cost-Aware WWW Proxy Caching
Algorithms", USENIX Symposium on Internet Technologies and Systems, 1997): each entry has the
priority L + cost / size, where L is the priority of the entry that was evicted last.  So what is
cheap to fetch again for its size goes first, and what nobody asks for goes in the end, since L
rises above it.
"""

import contextlib
import logging
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from blake3 import blake3

_INDEX = "index.sqlite"
_WAIT_SECONDS = 5.0
_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    name TEXT PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL, blake3 TEXT NOT NULL,
    cost REAL NOT NULL, priority REAL NOT NULL, whole INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS by_priority ON entries (priority);
CREATE TABLE IF NOT EXISTS state (inflation REAL NOT NULL, bytes INTEGER NOT NULL);
INSERT INTO state SELECT 0.0, 0 WHERE NOT EXISTS (SELECT * FROM state);
CREATE TABLE IF NOT EXISTS counts (
    hits INTEGER NOT NULL, hit_bytes INTEGER NOT NULL, misses INTEGER NOT NULL,
    evictions INTEGER NOT NULL);
INSERT INTO counts SELECT 0, 0, 0, 0 WHERE NOT EXISTS (SELECT * FROM counts);
PRAGMA user_version = 2;
"""

_log = logging.getLogger("forebay.tiering")


def _go_on(_: str) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """What a cache holds, and what has become of it since it was begun, by all processes."""

    entries: int
    """Entries that it holds."""
    bytes: int
    """Bytes that they take."""
    capacity: int
    """Bytes that they may take."""
    hits: int
    """Times that what was asked for was there."""
    hit_bytes: int
    """Bytes that were given then."""
    misses: int
    """Times that it was not."""
    evictions: int
    """Entries that made room for others."""


@dataclass(frozen=True, slots=True)
class ReadCache:
    """Bytes by their names, as many as fit.

    An entry is a file, with a row in an index that says what it is.  Its room is taken in the index
    before the file is made, and what does not match its digest is as if it were not there.  The
    index is none that must survive: if it is damaged, the cache is begun anew.  Where the cache
    cannot be used, it has nothing and takes nothing, and says so in the log.

    Parameters
    ----------
    folder
        Where it lies; made if it is not there.
    capacity
        Bytes of entries that it holds at the most.
    reached
        Told of each point that it comes to, by name: tests end it there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = ReadCache(Path(folder, "cache"), 100)
    ...     cache.put("dear", bytes(60), cost=10.0)
    ...     cache.put("cheap", bytes(40), cost=0.1)
    ...     cache.put("new", bytes(30), cost=1.0)
    ...     [len(cache.get(name) or b"") for name in ("dear", "cheap", "new")]
    [60, 0, 30]
    """

    folder: Path
    """Where it lies."""
    capacity: int
    """Bytes of entries that it holds at the most."""
    reached: Callable[[str], None] = field(default=_go_on, repr=False, compare=False)
    """Told of each point that it comes to."""

    def get(self, name: str) -> bytes | None:
        """Return the bytes of a name; None where there are none that are as they were put."""
        try:
            with self._index() as index:
                row = index.execute(
                    "SELECT file, blake3 FROM entries WHERE name = ? AND whole", (name,)
                ).fetchone()
                if row is None:
                    index.execute("UPDATE counts SET misses = misses + 1")
                    return None
            file, digest = row
            content = self._read(file)
            if content is None or blake3(content).hexdigest() != digest:
                with self._change() as index:
                    self._drop(index, name, file)
                    index.execute("UPDATE counts SET misses = misses + 1")
                _log.warning("cached bytes have changed", extra={"file": str(self.folder / file)})
                return None
            with self._change() as index:
                index.execute(
                    "UPDATE entries SET priority = (SELECT inflation FROM state) + cost / "
                    "max(bytes, 1) WHERE name = ?",
                    (name,),
                )
                index.execute(
                    "UPDATE counts SET hits = hits + 1, hit_bytes = hit_bytes + ?", (len(content),)
                )
        except (OSError, sqlite3.Error) as error:
            self._unusable(error)
            return None
        return content

    def put(self, name: str, content: bytes, *, cost: float) -> None:
        """Keep the bytes of a name, if they fit.

        Parameters
        ----------
        name
            The name; what it stands for never changes.
        content
            The bytes.
        cost
            What it takes to have them again, such as seconds.
        """
        if len(content) > self.capacity:
            return
        file = f"{uuid.uuid4().hex}.bytes"
        try:
            with self._change() as index:
                if index.execute("SELECT 1 FROM entries WHERE name = ?", (name,)).fetchone():
                    return
                self._make_room(index, len(content))
                index.execute(
                    "INSERT INTO entries SELECT ?, ?, ?, ?, ?, inflation + ?, 0 FROM state",
                    (
                        name,
                        file,
                        len(content),
                        str(blake3(content).hexdigest()),
                        cost,
                        cost / max(len(content), 1),
                    ),
                )
                index.execute("UPDATE state SET bytes = bytes + ?", (len(content),))
            self.reached("room taken")
            (self.folder / file).write_bytes(content)
            self.reached("written")
            with self._change() as index:
                kept = index.execute("UPDATE entries SET whole = 1 WHERE file = ?", (file,))
                if not kept.rowcount:
                    # It had to make room for others meanwhile.
                    (self.folder / file).unlink(missing_ok=True)
        except (OSError, sqlite3.Error) as error:
            with contextlib.suppress(OSError):
                (self.folder / file).unlink(missing_ok=True)
            self._unusable(error)

    def used(self) -> int:
        """Return the bytes that entries take."""
        with self._index() as index:
            return int(index.execute("SELECT bytes FROM state").fetchone()[0])

    def figures(self) -> CacheFigures | None:
        """Return what it holds, and how it has served; None where it cannot be used."""
        try:
            with self._index() as index:
                (entries,) = index.execute("SELECT count(*) FROM entries").fetchone()
                (size,) = index.execute("SELECT bytes FROM state").fetchone()
                counts = index.execute(
                    "SELECT hits, hit_bytes, misses, evictions FROM counts"
                ).fetchone()
        except (OSError, sqlite3.Error) as error:
            self._unusable(error)
            return None
        return CacheFigures(entries, size, self.capacity, *counts)

    def sweep(self) -> None:
        """Remove files that belong to no entry, as a process leaves them that was killed."""
        with self._change() as index:
            known = {file for (file,) in index.execute("SELECT file FROM entries")}
            for path in self.folder.glob("*.bytes"):
                if path.name not in known:
                    path.unlink(missing_ok=True)

    def _make_room(self, index: sqlite3.Connection, size: int) -> None:
        while index.execute("SELECT bytes FROM state").fetchone()[0] + size > self.capacity:
            (least,) = index.execute(
                "SELECT name, file, priority FROM entries ORDER BY priority LIMIT 1"
            ).fetchall()
            name, file, priority = least
            self._drop(index, name, file)
            index.execute("UPDATE state SET inflation = ?", (priority,))
            index.execute("UPDATE counts SET evictions = evictions + 1")

    def _drop(self, index: sqlite3.Connection, name: str, file: str) -> None:
        (self.folder / file).unlink(missing_ok=True)
        self.reached("file removed")
        (size,) = index.execute(
            "SELECT coalesce(sum(bytes), 0) FROM entries WHERE name = ? AND file = ?", (name, file)
        ).fetchone()
        index.execute("DELETE FROM entries WHERE name = ? AND file = ?", (name, file))
        index.execute("UPDATE state SET bytes = bytes - ?", (size,))

    def _read(self, file: str) -> bytes | None:
        try:
            return (self.folder / file).read_bytes()
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """Give the index, which is made where there is none."""
        path = self.folder / _INDEX
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        with contextlib.closing(connection):
            # What a loss of power does to it is found, and it is begun anew.
            connection.execute("PRAGMA synchronous = OFF")
            if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
            yield connection

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Give the index for changes that are made together, or not at all."""
        with self._index() as connection:
            connection.execute("BEGIN IMMEDIATE")
            # What is not committed when the connection is closed is taken back.
            yield connection
            connection.execute("COMMIT")

    def _unusable(self, error: Exception) -> None:
        told = {"folder": str(self.folder), "error": " ".join(str(error).split())}
        _log.warning("cache cannot be used", extra=told)
        damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError | sqlite3.IntegrityError
        )
        if damaged:
            for path in (self.folder / _INDEX, self.folder / f"{_INDEX}-journal"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
            for path in self.folder.glob("*.bytes"):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
