"""What can go wrong with the places where objects lie, and with moving objects between them."""

from forebay.errors import ExitCode, ForebayError


class TieringError(ForebayError):
    """A place for objects cannot be used."""


class UnknownPlaceError(TieringError, ValueError):
    """A location is of no kind that objects can be read from."""

    exit_code = ExitCode.USAGE


class PlaceUnavailableError(TieringError, OSError):
    """A store of objects does not answer, or not to us."""

    exit_code = ExitCode.INPUT


class HomeBusyError(PlaceUnavailableError, BlockingIOError):
    """Another mover changes the place at this time; it is waited for, and nothing has failed."""

    exit_code = ExitCode.CONFLICT


class ArchivedError(TieringError):
    """An object lies in an archive, and cannot be read until it is recalled."""

    exit_code = ExitCode.INPUT


class RecallUnderWayError(ArchivedError):
    """An object of an archive was asked for, and cannot be read yet."""

    exit_code = ExitCode.INPUT


class RecallTimeoutError(TieringError, TimeoutError):
    """Objects that were asked for have not come in time."""

    exit_code = ExitCode.INCOMPLETE


class TierFullError(PlaceUnavailableError):
    """A tier has no room for what was to be put there."""

    exit_code = ExitCode.STORAGE


class ObjectKeyError(TieringError, ValueError):
    """A key that could lead out of the place that it belongs to."""

    exit_code = ExitCode.USAGE


class TierError(TieringError, ValueError):
    """There is no such tier, or it cannot be used as it was asked."""

    exit_code = ExitCode.USAGE


class RunNotTieredError(TieringError, ValueError):
    """A run cannot be moved: it is open, lies in no tier, or holds what no run has."""

    exit_code = ExitCode.INPUT


class UnknownRunError(TieringError, LookupError):
    """The catalogue knows no such run."""

    exit_code = ExitCode.INPUT


class MoveRefusedError(TieringError):
    """A move would break what was promised of a run, or stands against another move."""

    exit_code = ExitCode.CONFLICT


class MoveTakenOverError(TieringError):
    """Another mover goes on with the move; this one changes nothing any more."""

    exit_code = ExitCode.CONFLICT


class LockedError(TieringError):
    """An object is locked where it lies, and cannot be deleted before its time is over."""

    exit_code = ExitCode.CONFLICT


class CopyDamagedError(TieringError, OSError):
    """An object of a copy is missing there, or is not what the catalogue says."""

    exit_code = ExitCode.DAMAGE


class BundleError(TieringError, ValueError):
    """Something is no bundle of a run, or of a kind that is not read here."""

    exit_code = ExitCode.INPUT


class BundleDamagedError(TieringError, ValueError):
    """A bundle lacks something, holds too much, or has changed since it was made."""

    exit_code = ExitCode.DAMAGE


class TargetTakenError(TieringError, FileExistsError):
    """Where a run was to be put, there is something else."""

    exit_code = ExitCode.CONFLICT


class HandoffBusyError(TieringError, BlockingIOError):
    """Another process puts the same run to the same place."""

    exit_code = ExitCode.CONFLICT


class TransferStoppedError(TieringError):
    """A transfer was told to stop; another one goes on from there."""

    exit_code = ExitCode.INTERRUPTED


class CatalogueError(TieringError):
    """The catalogue of tiers cannot be used."""

    exit_code = ExitCode.STORAGE
