"""What can go wrong while frames are taken, committed and read back."""

from forebay.errors import ExitCode, ForebayError


class AcquisitionError(ForebayError):
    """Frames cannot be taken, committed or read."""


class SourceError(AcquisitionError, ValueError):
    """A source cannot be opened, or delivers what cannot be used."""

    exit_code = ExitCode.INPUT


class FrameError(AcquisitionError, ValueError):
    """A frame does not fit the run: its shape, its dtype or its counter is wrong."""

    exit_code = ExitCode.INPUT


class RunNameError(AcquisitionError, ValueError):
    """A name that cannot be a run's."""

    exit_code = ExitCode.USAGE


class RunNotFoundError(AcquisitionError, FileNotFoundError):
    """There is no run at that place."""

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


class NoSpaceError(StorageError):
    """There is no room on the storage; once some is made, the same can be tried again."""


class RunTakenOverError(StorageError):
    """Another writer has taken the run over; what this one still had is not committed."""

    exit_code = ExitCode.CONFLICT


class ControlError(AcquisitionError, ConnectionError):
    """A running acquisition cannot be reached, or does not do what it was asked."""

    exit_code = ExitCode.INPUT
