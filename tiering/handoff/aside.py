"""A folder beside a target, in which the target is made before it has its name."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from forebay.acquisition import durable
from forebay.tiering.errors import HandoffBusyError, PlaceUnavailableError, TargetTakenError


@contextlib.contextmanager
def held_aside(target: Path, identity: str) -> Iterator[Path]:
    """Hold a folder for what is to become `target`; nobody takes it for a run or a bundle.

    It has the same name each time, so what a killed process has left there is found by the next
    one.  It stays where the block fails.

    Parameters
    ----------
    target
        What is to be made; its folder must be there.
    identity
        What tells it from others of that name.

    Raises
    ------
    PlaceUnavailableError
        If the folder of the target is not there, or cannot be written.
    TargetTakenError
        If there is a target already.
    HandoffBusyError
        If another process is at it.
    """
    folder = target.parent
    if not folder.is_dir():
        raise PlaceUnavailableError(
            f"{folder} cannot be used: there is no such folder; make it, or mount what it is on"
        )
    if os.path.lexists(target):
        clear_aside(target, identity)
        raise TargetTakenError(
            f"{target} exists already: choose another place, or move it away first"
        )
    with held_folder(_beside(target, identity)) as aside:
        yield aside


@contextlib.contextmanager
def held_folder(folder: Path) -> Iterator[Path]:
    """Hold a folder, made where it is missing; it goes with the block, and stays if that fails.

    Raises
    ------
    HandoffBusyError
        If another process holds it.
    """
    with _locked(folder):
        with durable.storage_errors(str(folder)):
            folder.mkdir(exist_ok=True)
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def fresh_aside(target: Path, identity: str) -> Iterator[Path]:
    """Hold a folder as `held_aside` does, that is empty at first, and goes however the block ends.

    Raises
    ------
    PlaceUnavailableError, TargetTakenError, HandoffBusyError
        As `held_aside`.
    """
    with held_aside(target, identity) as aside:
        try:
            yield emptied(aside)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def clear_aside(target: Path, identity: str) -> None:
    """Remove what a process has left that was killed when the target had its name already.

    Raises
    ------
    HandoffBusyError
        If it is not gone yet.
    """
    aside = _beside(target, identity)
    with _locked(aside):
        shutil.rmtree(aside, ignore_errors=True)


def _beside(target: Path, identity: str) -> Path:
    return target.with_name(f".{target.name}.{identity}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path = folder.with_name(f"{folder.name}.lock")
    with durable.storage_errors(str(path)):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Before it was locked, the process before may have ended and removed it.
            if os.fstat(descriptor).st_nlink == 0:
                raise BlockingIOError
        except BlockingIOError as error:
            raise HandoffBusyError(
                f"{folder} is in the hands of another process, which makes the same: wait for it "
                "to end, and try again"
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def emptied(folder: Path) -> Path:
    """Remove everything that a folder holds, and return the folder."""
    with durable.storage_errors(str(folder)):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return folder


def flush_below(folder: Path) -> None:
    """Make the names of everything in a folder durable; the files are so already."""
    for each, _, _ in folder.walk(top_down=False):
        durable.flush_folder(each)


def name_whole(aside: Path, target: Path) -> None:
    """Give what was made aside its name, in one step, and make the name durable.

    Raises
    ------
    TargetTakenError
        If there is something of that name.
    """
    with durable.storage_errors(str(target)):
        try:
            if os.path.lexists(target):
                raise FileExistsError
            aside.rename(target)
        except FileExistsError as error:
            raise TargetTakenError(
                f"{target} exists already: it was made meanwhile; look what it is"
            ) from error
        durable.flush_folder(target.parent)
