"""What can go wrong while a cluster is started or joined."""

from forebay.errors import ExitCode, ForebayError


class ClusterError(ForebayError, OSError):
    """A cluster cannot be started, reached or used."""

    exit_code = ExitCode.INPUT


class ClusterTakenError(ClusterError):
    """A cluster of that name runs already."""

    exit_code = ExitCode.CONFLICT


class BudgetSpentError(ClusterError):
    """Another machine would cost more than the day's budget has left."""
