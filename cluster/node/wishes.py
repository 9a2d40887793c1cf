"""One value of a machine that a role wishes for: what it should be, and why.

What is examined and what is tuned are made from the same wishes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from forebay.cluster.node.devices import DiskKind
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import shown
from forebay.cluster.node.purpose import Reason, Role, reason_for
from forebay.cluster.node.verdict import Verdict

UNLIMITED = "unlimited"


class Rule(StrEnum):
    """How a value is compared with the wanted one."""

    EXACTLY = "exactly"
    """It has to be the wanted one, or one of those that do as well."""
    AT_LEAST = "at least"
    """More does as well; of several numbers each is compared."""
    AT_MOST = "at most"
    """Less does as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A value that roles wish for."""

    key: str
    """What it is called where it is set."""
    values: Mapping[Role, str]
    """The wanted value by role; a role that is missing does not care."""
    why: Reason
    """Why it matters."""
    rule: Rule = Rule.EXACTLY
    """How it is compared."""
    others: tuple[str, ...] = ()
    """Values that do as well."""
    grave: frozenset[Role] = frozenset()
    """Roles for which another value is wrong, not just worse."""

    def wanted(self, role: Role) -> str | None:
        """Return what a role wants, or None."""
        return self.values.get(role)

    def reason(self, role: Role) -> str:
        """Return why it matters to a role that cares."""
        return reason_for(role, self.why)

    def told(self, role: Role) -> str:
        """Return what a role wants, for people."""
        value = self.wanted(role)
        if value is None:
            return "any"
        if self.rule is Rule.EXACTLY:
            return " or ".join([value, *self.others])
        return value if value == UNLIMITED else f"{self.rule} {value}"

    def verdict(self, role: Role, found: str) -> Verdict:
        """Judge a value.

        Raises
        ------
        UnreadableError
            If numbers are wanted and it is none.
        """
        value = self.wanted(role)
        if value is None or self._accepts(value, found):
            return Verdict.OK
        return Verdict.WRONG if role in self.grave else Verdict.BETTER

    def kept(self, role: Role, found: str | None) -> str:
        """Return what to set for a role: the wanted value, or the present one where that is more.

        Parameters
        ----------
        role
            A role that wants a value.
        found
            The present value, if it is known.
        """
        value = self.values[role]
        if found is None or self.rule is Rule.EXACTLY:
            # What does as well is left as it is.
            return found if found in self.others else value
        try:
            pairs = list(zip(found.split(), value.split(), strict=True))
            choose = max if self.rule is Rule.AT_LEAST else min
            return " ".join(choose(pair, key=number) for pair in pairs)
        except (UnreadableError, ValueError):
            return value

    def _accepts(self, value: str, found: str) -> bool:
        if self.rule is Rule.EXACTLY:
            return found in {value, *self.others}
        there, wanted = found.split(), value.split()
        if len(there) != len(wanted):
            raise UnreadableError(f"{self.key} is {shown(found)}, not like {value!r}")
        pairs = [(number(a), number(b)) for a, b in zip(there, wanted, strict=True)]
        if self.rule is Rule.AT_LEAST:
            return all(a >= b for a, b in pairs)
        return all(a <= b for a, b in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctl(Wish):
    """A parameter of the kernel, below ``/proc/sys``."""

    counterpart: str | None = None
    """The parameter that says the same in another way: where one is set, the other is 0."""

    @property
    def path(self) -> str:
        """Where it is read and written while the system runs."""
        return path_of(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute(Wish):
    """A file below ``/sys`` that is set once at the start of the system."""

    pattern: str
    """Where it lies; a ``*`` stands for any part of a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskAttribute(Wish):
    """A file of a disk's queue; its key is the file's name."""

    kind: DiskKind
    """The disks that it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit(Wish):
    """A limit of a process; its key is what ``limits.conf`` calls it."""

    label: str
    """What ``/proc/self/limits`` calls it."""
    systemd: str
    """What a unit of systemd calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument(Wish):
    """An argument of the kernel's command line."""


def number(text: str) -> float:
    """Return the number that a value is.

    Raises
    ------
    UnreadableError
        If it is none.

    Examples
    --------
    >>> number("4096"), number("unlimited")
    (4096.0, inf)
    """
    if text in {UNLIMITED, "infinity"}:
        return math.inf
    if not (
        text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 30
    ):
        raise UnreadableError(f"{shown(text)} is no number")
    return float(text)


def path_of(key: str) -> str:
    """Return where a parameter of the kernel is read and written.

    Examples
    --------
    >>> path_of("vm.swappiness")
    'proc/sys/vm/swappiness'
    """
    return "proc/sys/" + key.replace(".", "/")
