"""What can go wrong when an operation is asked for."""

from forebay.errors import ExitCode, ForebayError


class OperationError(ForebayError, ValueError):
    """An operation was asked for something that it cannot do."""

    exit_code = ExitCode.USAGE
