"""What can go wrong while frames are taken, committed and read back."""

import difflib
import os
from pathlib import Path
from typing import Self

from forebay.errors import ExitCode, ForebayError


class AcquisitionError(ForebayError):
    """Frames cannot be taken, committed or read."""


class ArgumentError(AcquisitionError, ValueError):
    """What a function was given is of a wrong type, or out of range."""

    exit_code = ExitCode.USAGE


class SourceError(AcquisitionError, ValueError):
    """A source cannot be opened, or delivers what cannot be used."""

    exit_code = ExitCode.INPUT


class FrameError(AcquisitionError, ValueError):
    """A frame does not fit the run: its shape, its dtype or its counter is wrong."""

    exit_code = ExitCode.INPUT


class RunNameError(AcquisitionError, ValueError):
    """A name that cannot be a run's."""

    exit_code = ExitCode.USAGE


class NoteError(AcquisitionError, TypeError):
    """What is to be written down in a run is not text."""

    exit_code = ExitCode.USAGE


class RunNotFoundError(AcquisitionError, FileNotFoundError):
    """There is no run at that place."""

    exit_code = ExitCode.INPUT

    @classmethod
    def no_folder(cls, path: Path) -> Self:
        """Return the error for a run's folder that is not there; it names the one nearest to it."""
        parent = path.parent
        beside = [each.name for each in parent.iterdir()] if os.access(parent, os.R_OK) else []
        alike = difflib.get_close_matches(path.name, beside)
        near = next((each for each in alike if (parent / each).is_dir()), None)
        meant = "" if near is None else f"; did you mean {near!r}?"
        return cls(
            f"{path} is not a run: there is no such folder{meant}; check the name and the runs "
            "folder"
        )


class ExtentError(AcquisitionError, IndexError):
    """Frames were asked for that are not in what they were to be read from."""

    exit_code = ExitCode.USAGE


class FolderError(AcquisitionError, OSError):
    """The folder of the runs cannot be looked through."""

    exit_code = ExitCode.INPUT


class RunExistsError(AcquisitionError, FileExistsError):
    """Something is already where the run was to be made."""

    exit_code = ExitCode.CONFLICT


class RunLockedError(AcquisitionError, BlockingIOError):
    """Another writer holds the run."""

    exit_code = ExitCode.CONFLICT


class RunDamagedError(AcquisitionError, OSError):
    """What was committed is missing or has changed."""

    exit_code = ExitCode.DAMAGE


class StorageError(AcquisitionError, OSError):
    """The storage refused to keep what it was given."""

    exit_code = ExitCode.STORAGE


class StorageNotReadyError(StorageError):
    """The storage does not take it now; the same can be tried again."""


class NoSpaceError(StorageNotReadyError):
    """There is no room on the storage; once some is made, the same can be tried again."""


class StorageAwayError(StorageNotReadyError):
    """The storage does not answer, and may have done what it was asked; it can be asked again."""


class RunTakenOverError(StorageError):
    """Another writer has taken the run over; what this one still had is not committed."""

    exit_code = ExitCode.CONFLICT


class ControlError(AcquisitionError, ConnectionError):
    """A running acquisition cannot be reached, or does not do what it was asked."""

    exit_code = ExitCode.INPUT
