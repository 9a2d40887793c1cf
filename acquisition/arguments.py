"""Refusing what a function was given and cannot use, before it has done anything."""

import reprlib
import threading
from typing import Any

from forebay.acquisition.errors import ArgumentError


def check_run(given: object) -> None:
    """Refuse what is no run.

    Raises
    ------
    ArgumentError
        If it is something else, as its folder.
    """
    # Runs themselves are verified by what asks for this.
    from forebay.acquisition.run.reader import Run

    if not isinstance(given, Run):
        raise ArgumentError(f"{reprlib.repr(given)} is no run: give what open_run returns")


def check_clock(given: object) -> None:
    """Refuse what tells no time.

    Raises
    ------
    ArgumentError
        If it lacks a method of a clock.
    """
    for method in ("time_ns", "monotonic", "wait_until"):
        if not callable(getattr(given, method, None)):
            raise ArgumentError(
                f"{reprlib.repr(given)} is no clock: it has no method {method}; leave it out, or "
                "give an object that has those of forebay.acquisition.clock.Clock"
            )


def check_event(name: str, given: object) -> None:
    """Refuse what nobody can set; None is taken as well.

    Raises
    ------
    ArgumentError
        If it is no event.
    """
    if given is not None and not isinstance(given, threading.Event):
        raise ArgumentError(f"{name} is {reprlib.repr(given)}: give a threading.Event")


def check_callback(name: str, given: Any) -> None:
    """Refuse what cannot be called; None is taken as well.

    Raises
    ------
    ArgumentError
        If it is no function.
    """
    if given is not None and not callable(given):
        raise ArgumentError(f"{name} is {reprlib.repr(given)}: give a function")


def check_count(name: str, given: Any) -> None:
    """Refuse what is no number of things.

    Raises
    ------
    ArgumentError
        If it is no integer, or below 0.
    """
    if not is_integer(given) or given < 0:
        raise ArgumentError(f"{name} is {reprlib.repr(given)}: give an integer, 0 or more")


def is_integer(given: Any) -> bool:
    """Tell whether something is an integer, and not a truth value."""
    return isinstance(given, int) and not isinstance(given, bool)
