"""What can go wrong between a location and the objects that lie there."""

from forebay.errors import ExitCode, ForebayError


class TieringError(ForebayError):
    """A place for objects cannot be used."""


class UnknownPlaceError(TieringError, ValueError):
    """A location is of no kind that objects can be read from."""

    exit_code = ExitCode.USAGE


class PlaceUnavailableError(TieringError, OSError):
    """A store of objects does not answer, or not to us."""

    exit_code = ExitCode.INPUT
