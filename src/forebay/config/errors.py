"""What can be wrong with the configuration."""

from forebay.errors import ExitCode, ForebayError


class ConfigError(ForebayError, ValueError):
    """The configuration cannot be used."""

    exit_code = ExitCode.USAGE
