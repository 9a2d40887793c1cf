"""Examining a machine for what it is for."""

from collections import Counter
from collections.abc import Iterable, Iterator

from forebay.cluster.node.checks import (
    clock,
    direct,
    disks,
    gpu,
    interrupts,
    kernel,
    limits,
    links,
    memory,
    network,
    processor,
    services,
    topology,
)
from forebay.cluster.node.checks.check import Check
from forebay.cluster.node.checks.services import Service
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Finding, Verdict

CHECKS: tuple[Check, ...] = (
    *processor.CHECKS,
    *topology.CHECKS,
    *links.CHECKS,
    *interrupts.CHECKS,
    *memory.CHECKS,
    *kernel.CHECKS,
    *disks.CHECKS,
    *limits.CHECKS,
    *network.CHECKS,
    *clock.CHECKS,
    *gpu.CHECKS,
    *direct.CHECKS,
)
"""Everything that a machine is examined for, beside services."""


def examine(
    machine: Machine, purpose: Purpose, services_named: Iterable[Service] = ()
) -> Iterator[Finding]:
    """Examine a machine; nothing of it is changed.

    Parameters
    ----------
    machine
        The machine.
    purpose
        What it is for.
    services_named
        What it has to reach; nothing else is connected to.

    Yields
    ------
    Finding
        What was found, one after the other.

    Examples
    --------
    >>> from forebay.cluster.node.purpose import Role
    >>> findings = list(examine(Machine(), Purpose(Role.STORAGE)))
    >>> "read-ahead" in {each.check for each in findings}
    True
    """
    for check in (*CHECKS, *services.service_checks(tuple(services_named))):
        yield from check.examine(machine, purpose)


def count(findings: Iterable[Finding]) -> dict[Verdict, int]:
    """Return how many findings there are of each verdict."""
    counted = Counter(finding.verdict for finding in findings)
    return {verdict: counted[verdict] for verdict in Verdict}
