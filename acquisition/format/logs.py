"""Where the log of a writer lies: in one file of a folder, or in a row of objects in a bucket."""

import re
from dataclasses import dataclass

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.format.layout import LOG
from forebay.acquisition.format.objects import Objects

_ROW_NAME = re.compile(r"\d{8,}", flags=re.ASCII)


def log_key(epoch: int) -> str:
    """Return the key of a writer's log in a folder."""
    return f"{LOG}/{epoch:08d}.log"


def row_key(epoch: int) -> str:
    """Return the prefix of the row of objects that is a writer's log in a bucket."""
    return f"{LOG}/{epoch:08d}"


def row_object_key(epoch: int, number: int) -> str:
    """Return the key of an object of such a row, which begins with number 0."""
    return f"{row_key(epoch)}/{number:012d}.log"


@dataclass(frozen=True, slots=True)
class RowPart:
    """Objects that follow each other in the row of a log."""

    content: bytes
    """Their bytes, joined."""
    objects: int
    """Number of objects, without the one that seals the row."""
    sealed: bool
    """Whether the row is sealed behind them."""


@dataclass(frozen=True, slots=True)
class Logs:
    """The logs that a run has."""

    objects: Objects
    """The objects of the run."""
    epochs: int
    """Number of logs."""
    in_rows: bool
    """Whether each is a row of objects."""

    def where(self, epoch: int) -> str:
        """Return the name of a log for a message."""
        return self.objects.where(row_key(epoch) if self.in_rows else log_key(epoch))


def find_logs(objects: Objects) -> Logs:
    """Find the logs of a run.

    Raises
    ------
    RunDamagedError
        If they are not an unbroken row from the first one, all of one kind.
    """
    found = objects.names(LOG)
    rows = [name for name in found if _ROW_NAME.fullmatch(name)]
    names = sorted([*rows, *(name for name in found if name.endswith(".log"))])
    key = row_key if rows else log_key
    expected = [key(epoch).rpartition("/")[2] for epoch in range(1, len(names) + 1)]
    if not names or names != expected:
        raise RunDamagedError(
            f"{objects.where(LOG)} holds the logs {', '.join(names) or 'none'}; expected an "
            "unbroken row from 00000001.log: restore the folder from a copy"
        )
    return Logs(objects, len(names), in_rows=bool(rows))


def read_row(objects: Objects, epoch: int) -> RowPart:
    """Read the whole row of a log.

    An empty object seals a row: what a writer that was taken over may have put behind it is void.

    Raises
    ------
    RunDamagedError
        If an object of it is missing.
    """
    names = objects.names(row_key(epoch))
    keys = [row_object_key(epoch, number) for number in range(len(names))]
    contents = [content for content, _ in objects.read_all(keys)]
    for key, name, content in zip(keys, names, contents, strict=True):
        if content is None or not key.endswith(f"/{name}"):
            raise RunDamagedError(
                f"{objects.where(key)} is missing, and objects follow it: restore it from a copy"
            )
    return _part([content for content in contents if content is not None])


def read_row_from(objects: Objects, epoch: int, number: int) -> RowPart:
    """Read the row of a log from one of its objects on, as far as it goes.

    Nothing is listed, so that it costs one request to find out that nothing has come.
    """
    contents: list[bytes] = []
    while content := objects.read(row_object_key(epoch, number + len(contents))):
        contents.append(content)
    return _part(contents if content is None else [*contents, content])


def _part(contents: list[bytes]) -> RowPart:
    before = contents.index(b"") if b"" in contents else len(contents)
    return RowPart(b"".join(contents[:before]), before, sealed=before < len(contents))
