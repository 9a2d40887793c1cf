"""Disks: the scheduler of their requests, and reading ahead."""

import functools
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.devices import BLOCK, DiskKind, disk_kind, disks
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Verdict
from forebay.cluster.node.wanted import DISK_ATTRIBUTES


def _disks(machine: Machine, _purpose: Purpose) -> list[str]:
    return disks(machine)


def _attribute(name: str, machine: Machine, purpose: Purpose, disk: str) -> Iterator[Seen]:
    kind = disk_kind(machine, disk)
    if kind is DiskKind.VIRTUAL:
        yield Seen(Verdict.OK, "a guest's disk: its host decides")
        return
    for wish in DISK_ATTRIBUTES:
        if (wish.key, wish.kind) == (name, kind):
            found = machine.choice(f"{BLOCK}/{disk}/queue/{name}")
            verdict = wish.verdict(purpose.role, found)
            yield Seen(
                verdict, f"{found} ({kind})", wish.told(purpose.role), why=wish.reason(purpose.role)
            )


CHECKS = tuple(
    Check(
        name=name,
        reads=(f"{BLOCK}/*/queue/{key}", f"{BLOCK}/*/queue/rotational"),
        why=why,
        mend="set it with 'forebay tune' (udev rules)",
        look=functools.partial(_attribute, key),
        subjects=_disks,
        nothing="there is no disk of its own",
    )
    for name, key, why in (
        ("I/O scheduler", "scheduler", "Who orders the requests to a disk, and at what cost."),
        ("read-ahead", "read_ahead_kb", "What is read of a file before it is asked for."),
    )
)
