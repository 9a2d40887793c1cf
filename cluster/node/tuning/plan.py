"""What is to be written to a machine: files, and values that hold at once."""

import textwrap
from dataclasses import dataclass

from forebay.cluster.node.purpose import Role

_WIDTH = 98
_INTRODUCTION = """\
# A machine for {role}

Written by `forebay tune --role {role}`. Nothing of it is in force yet.

`forebay tune --role {role} --apply` puts these files into the system, keeps what they replace, and
sets at once what can be; `forebay tune --undo` brings everything back. Or copy `etc/` by what
manages your machines, and run what stands below each file.
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file."""

    text: str
    """What it says."""
    why: str
    """Why it is there."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that lasts: what the system reads when it starts."""

    path: str
    """Where it lies, below the root."""
    what: str
    """What it is for."""
    lines: tuple[Line, ...]
    """What it says."""
    effect: str
    """What puts it in force without a restart of the system, or what does."""
    undo: str
    """What puts it out of force, once it is gone."""
    section: str = ""
    """The section that the lines belong to, where the file has such."""

    @property
    def content(self) -> str:
        """The file's text: each line behind its rationale; the same for the same plan."""
        parts = [
            f"# {self.what}\n# Written by 'forebay tune'; 'forebay tune --undo' takes it back.\n"
        ]
        if self.section:
            parts.append(f"{self.section}\n")
        said = ""
        for line in self.lines:
            if line.why != said:
                wrapped = textwrap.wrap(line.why, _WIDTH)
                parts.append("\n" + "".join(f"# {each}\n" for each in wrapped))
                said = line.why
            parts.append(f"{line.text}\n")
        return "".join(parts)


@dataclass(frozen=True, slots=True)
class LiveValue:
    """A value that is set while the system runs; a file makes it last."""

    path: str
    """Where it is set, below the root."""
    value: str
    """What it is set to."""
    counterpart: str | None = None
    """Where it is set in another way, if it is 0 here: that is what takes it back."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a machine needs for its role."""

    role: Role
    """The role."""
    files: tuple[PlannedFile, ...]
    """Files, in the order of their paths."""
    live: tuple[LiveValue, ...]
    """Values that can be set at once."""
    notes: tuple[str, ...] = ()
    """What it leaves out, and why."""


def readme(plan: Plan) -> str:
    """Return the page that explains a plan."""
    parts = [_INTRODUCTION.format(role=plan.role)]
    for file in plan.files:
        parts.append(f"\n## /{file.path}\n\n{file.what}\n\n")
        parts.append("| line | why |\n|---|---|\n")
        for line in file.lines:
            text = line.text.replace("|", "\\|")
            parts.append(f"| `{text}` | {line.why} |\n")
        parts.append(f"\nIn force after: {file.effect}\n\nUndo: remove the file; {file.undo}\n")
    if plan.notes:
        parts.append("\n## Left out\n\n" + "".join(f"- {note}\n" for note in plan.notes))
    return "".join(parts)
