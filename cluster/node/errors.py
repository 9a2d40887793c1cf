"""What can go wrong while a machine is examined or tuned."""

from forebay.errors import ExitCode, ForebayError


class NodeError(ForebayError):
    """A machine cannot be examined or tuned."""

    exit_code = ExitCode.INPUT


class UnreadableError(NodeError, OSError):
    """Something that a machine should tell of itself is not there, or makes no sense."""


class RootError(NodeError, FileNotFoundError):
    """There is no file system at the root that was named."""


class NothingToUndoError(NodeError, LookupError):
    """Nothing was applied to this machine, or all of it is undone."""


class RecordError(NodeError, ValueError):
    """The record of what was changed cannot be read."""

    exit_code = ExitCode.DAMAGE


class TuningConflictError(NodeError, RuntimeError):
    """Somebody else has changed, or is changing, what is to be changed."""

    exit_code = ExitCode.CONFLICT


class TuningStorageError(NodeError, OSError):
    """A file of the system cannot be written."""

    exit_code = ExitCode.STORAGE


class ProfilerError(NodeError, RuntimeError):
    """A unit cannot be profiled."""
