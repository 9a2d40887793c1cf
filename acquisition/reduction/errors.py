"""What can go wrong when frames are to be reduced."""

from forebay.acquisition.errors import AcquisitionError
from forebay.errors import ExitCode


class ReductionError(AcquisitionError, ValueError):
    """A reduction is not what a reduction can be, or does not fit the frames."""

    exit_code = ExitCode.USAGE
