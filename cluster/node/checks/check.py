"""One thing that a machine is examined for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Reason, Role, reason_for
from forebay.cluster.node.verdict import Finding, Verdict


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at one subject has shown."""

    verdict: Verdict
    """How it stands."""
    found: str
    """How it is."""
    wanted: str = ""
    """How it should be."""
    subject: str | None = None
    """What it is of, where that is not the subject that was looked at."""
    why: str | None = None
    """Why it matters, where the check's own words are too general."""
    mend: str | None = None
    """What to do, where the check's own words are too general."""


def _machine_itself(_machine: Machine, _purpose: Purpose) -> Sequence[str]:
    return ("",)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a machine is examined for."""

    name: str
    """What it is called."""
    reads: tuple[str, ...]
    """Where it looks, below the root; ``*`` stands for any part of a name."""
    why: Reason
    """Why it matters."""
    mend: str
    """What to do where it is not as it should be."""
    look: Callable[[Machine, Purpose, str], Iterator[Seen]]
    """Looks at one subject."""
    subjects: Callable[[Machine, Purpose], Sequence[str]] = _machine_itself
    """What there is to look at: disks, interfaces, GPUs; the machine itself if not given."""
    nothing: str = "there is none"
    """What is told where there is nothing to look at."""
    roles: frozenset[Role] = frozenset(Role)
    """The roles that it matters to."""

    def examine(self, machine: Machine, purpose: Purpose) -> Iterator[Finding]:
        """Look at everything there is, and judge it.

        What cannot be read is told as such, and never an error.
        """
        if purpose.role not in self.roles:
            return
        try:
            subjects = self.subjects(machine, purpose)
        except UnreadableError as error:
            yield self._finding(purpose, "", Seen(Verdict.UNKNOWN, str(error)))
            return
        if not subjects:
            yield self._finding(purpose, "", Seen(Verdict.OK, self.nothing))
        for subject in subjects:
            try:
                for seen in self.look(machine, purpose, subject):
                    yield self._finding(purpose, subject, seen)
            except UnreadableError as error:
                yield self._finding(purpose, subject, Seen(Verdict.UNKNOWN, str(error)))

    def _finding(self, purpose: Purpose, subject: str, seen: Seen) -> Finding:
        return Finding(
            check=self.name,
            subject=subject if seen.subject is None else seen.subject,
            verdict=seen.verdict,
            found=seen.found,
            wanted=seen.wanted,
            why=reason_for(purpose.role, self.why) if seen.why is None else seen.why,
            mend=self.mend if seen.mend is None else seen.mend,
            reads=self.reads,
        )
