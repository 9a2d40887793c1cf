"""What can be wrong with a command itself."""

from forebay.errors import ExitCode, ForebayError


class OptionError(ForebayError, ValueError):
    """An option has a value that cannot be used."""

    exit_code = ExitCode.USAGE


class OutputClosedError(ForebayError, OSError):
    """Nobody takes what is printed any more."""

    exit_code = ExitCode.STORAGE


class LedgerNotFoundError(ForebayError, FileNotFoundError):
    """There is no ledger at that place."""

    exit_code = ExitCode.INPUT


class TargetExistsError(ForebayError, FileExistsError):
    """There is a file already where one is to be written."""

    exit_code = ExitCode.CONFLICT


class TargetError(ForebayError, OSError):
    """A file cannot be written."""

    exit_code = ExitCode.STORAGE


class VerificationError(ForebayError):
    """A run is not as it was committed."""

    exit_code = ExitCode.DAMAGE


class TierProblemError(ForebayError, OSError):
    """A tier cannot be used, or a move does not go on."""

    exit_code = ExitCode.STORAGE


class DemonstrationError(ForebayError, RuntimeError):
    """The demonstration cannot go on."""

    exit_code = ExitCode.INPUT


class ClusterTimeoutError(ForebayError, TimeoutError):
    """A cluster has not done what it was told to in time."""

    exit_code = ExitCode.INCOMPLETE
