"""The files of a journal, by their names."""

import contextlib
import re
from pathlib import Path

from forebay.acquisition import durable
from forebay.acquisition.journal.segment import ASIDE

SPARE = "spare"
"""How the names of freed segments end that wait to be written again."""

_SEGMENT_NAME = re.compile(r"(\d{8,})-(\d{8,})\.segment", flags=re.ASCII)


def segments_of(folder: Path) -> dict[int, list[Path]]:
    """Return the segments in a folder by the epoch of their writer, each epoch's in order."""
    found: dict[int, list[tuple[int, Path]]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        if name := _SEGMENT_NAME.fullmatch(path.name):
            found.setdefault(int(name[1]), []).append((int(name[2]), path))
    return {epoch: [path for _, path in sorted(found[epoch])] for epoch in sorted(found)}


def remove_leftovers(folder: Path) -> None:
    """Remove what a writer that died was about to make, or kept to be written again."""
    for path in folder.iterdir():
        # A spare may be a segment that a power cut gave its old name back: it is not written to.
        if path.name == ASIDE or path.suffix == f".{SPARE}":
            path.unlink()


def remove_journal(folder: Path, *, before_epoch: int | None = None) -> None:
    """Remove the segments of a journal, the oldest first.

    Parameters
    ----------
    folder
        Where they are.  It is removed, too, when nothing is left in it.
    before_epoch
        Remove those of earlier writers only.
    """
    for epoch, paths in segments_of(folder).items():
        for path in paths:
            if before_epoch is None or epoch < before_epoch:
                path.unlink()
                # In their order for good: a gap would look like damage.
                durable.flush_folder(folder)
    if before_epoch is None and folder.is_dir():
        remove_leftovers(folder)
        # Something of somebody else may be there.
        with contextlib.suppress(OSError):
            folder.rmdir()
