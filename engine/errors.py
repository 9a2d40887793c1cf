"""What can go wrong between an algorithm and its result."""

from forebay.errors import ExitCode, ForebayError


class EngineError(ForebayError):
    """A job cannot be planned, executed or read back."""


class AlgorithmError(EngineError, ValueError):
    """An algorithm is declared in a way that cannot work."""

    exit_code = ExitCode.USAGE


class UnknownAlgorithmError(EngineError, LookupError):
    """No algorithm of that name and version is registered."""

    exit_code = ExitCode.USAGE


class ParameterError(EngineError, ValueError):
    """A parameter is unknown, missing, or of the wrong type."""

    exit_code = ExitCode.USAGE


class OutputError(EngineError, TypeError):
    """An algorithm returned what cannot be kept as a result."""

    exit_code = ExitCode.INCOMPLETE


class ResultNotFoundError(EngineError, FileNotFoundError):
    """There is no result at that place."""

    exit_code = ExitCode.INPUT


class UnitsFailedError(EngineError, RuntimeError):
    """Some units of a job failed; the others are published."""

    exit_code = ExitCode.INCOMPLETE


class JobInterruptedError(EngineError, RuntimeError):
    """A job was stopped before its end; what is published stays."""

    exit_code = ExitCode.INTERRUPTED


class RunNotClosedError(EngineError, RuntimeError):
    """An algorithm needs the whole run, and the run is still growing."""

    exit_code = ExitCode.CONFLICT


class ResultDamagedError(EngineError, OSError):
    """What was published is missing or has changed."""

    exit_code = ExitCode.DAMAGE


class LedgerError(EngineError, OSError):
    """The ledger cannot be read or written."""

    exit_code = ExitCode.STORAGE


class ClusterLostError(EngineError, ConnectionError):
    """The Dask cluster of a job went away; what is published stays."""

    exit_code = ExitCode.INCOMPLETE


class ResultStorageError(EngineError, OSError):
    """The storage refused to keep a result."""

    exit_code = ExitCode.STORAGE


class ResultLedgerError(EngineError, ValueError):
    """A result is entered in another ledger: of two, neither could know what is published."""

    exit_code = ExitCode.CONFLICT


class ResultFormError(EngineError, TypeError):
    """A result cannot be read in that form, or is of more than one."""

    exit_code = ExitCode.USAGE


class JobError(EngineError, ValueError):
    """A job cannot be submitted or changed in that way."""

    exit_code = ExitCode.USAGE


class KeyTakenError(JobError):
    """The key of a job is that of another one, which has not ended."""

    exit_code = ExitCode.CONFLICT


class UnknownJobError(EngineError, LookupError):
    """There is no such job."""

    exit_code = ExitCode.INPUT


class LeaseLostError(EngineError, RuntimeError):
    """A service was silent for so long that others have taken its place."""

    exit_code = ExitCode.CONFLICT
