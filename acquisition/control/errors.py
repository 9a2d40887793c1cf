"""What a running acquisition does not do for who asks."""

from forebay.acquisition.errors import ControlError
from forebay.errors import ExitCode


class RequestError(ControlError, ValueError):
    """A request is not one, or cannot be fulfilled as things stand."""

    exit_code = ExitCode.USAGE
