"""The base of every exception that forebay raises on purpose.

Each folder keeps its own errors; all of them descend from `ForebayError`, carry a message that
says what was wrong, where, and what to do, and name the exit code that the command line gives
for them.
"""

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the command line tells the shell when it ends."""

    DONE = 0
    """Everything that was asked is done."""
    DEFECT = 1
    """An error that forebay did not foresee; please report it."""
    USAGE = 2
    """The command, a parameter or the configuration is wrong."""
    INPUT = 3
    """What was to be read is not there or cannot be used."""
    CONFLICT = 4
    """The target exists already, or somebody else is writing it."""
    DAMAGE = 5
    """Committed data are missing or are not what was committed."""
    INCOMPLETE = 6
    """Some units failed; the others are published."""
    STORAGE = 7
    """The storage refused: no space left, no permission, an I/O error."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C, SIGTERM or SIGHUP; everything committed is kept."""


class ForebayError(Exception):
    """Something that was asked of forebay cannot be done."""

    exit_code: ClassVar[ExitCode] = ExitCode.DEFECT
