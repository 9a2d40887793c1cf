"""Interrupts: which cores take those of the network cards."""

import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.cpu_list import as_list, cores_of
from forebay.cluster.node.devices import NET, interfaces, is_up
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict


def _in_use(machine: Machine, purpose: Purpose) -> list[str]:
    chosen = purpose.interfaces or interfaces(machine)
    return [name for name in chosen if machine.exists(f"{NET}/{name}") and is_up(machine, name)]


def _placement(machine: Machine, purpose: Purpose, interface: str) -> Iterator[Seen]:
    counts = _counts(machine)
    numbers = [
        int(name)
        for name in machine.names(f"{NET}/{interface}/device/msi_irqs")
        if name.isascii() and name.isdigit()
    ]
    if not numbers:
        yield Seen(Verdict.UNKNOWN, "the card does not name its interrupts, as in a guest")
        return
    taken = {number: _cores(machine, number) for number in numbers if counts.get(number)}
    if not taken:
        yield Seen(Verdict.OK, f"{len(numbers)} interrupts, none of which has come yet")
        return
    used = frozenset().union(*taken.values())
    found = f"{len(taken)} of {len(numbers)} interrupts come, on cores {as_list(used)}"
    worst = Verdict.WRONG if purpose.role is Role.ACQUISITION else Verdict.BETTER
    if len(taken) > 1 and len(used) == 1:
        yield Seen(
            worst,
            found,
            "several cores",
            why="One core takes all packets of the card; beyond what it can do they "
            + ("are lost." if purpose.role is Role.ACQUISITION else "wait."),
            mend="start irqbalance, or spread them: 'echo CORE > /proc/irq/NUMBER/smp_affinity_list'",
        )
        return
    if busy := used & set(purpose.cores):
        yield Seen(
            worst,
            f"{found}; the recording runs on {as_list(busy)} too",
            f"other cores than {as_list(purpose.cores)}",
            why="Interrupts stop the threads of the recording, whatever their priority.",
            mend="keep them away with 'forebay tune' (irqaffinity= and irqbalance's drop-in)",
        )
        return
    near = _near(machine, interface)
    if far := used - near if near else frozenset():
        yield Seen(
            Verdict.BETTER,
            f"{found}; {as_list(far)} are on another NUMA node",
            f"cores {as_list(near)}",
        )
        return
    yield Seen(Verdict.OK, found)


def _counts(machine: Machine) -> dict[int, int]:
    """Return how often each interrupt has come."""
    lines = machine.text("proc/interrupts").splitlines()
    cores = len(re.findall(r"CPU[0-9]+", lines[0])) if lines else 0
    if not cores:
        raise UnreadableError("/proc/interrupts does not begin with the names of the cores")
    counts = {}
    for line in lines[1:]:
        name, _, rest = line.partition(":")
        if name.strip().isascii() and name.strip().isdigit():
            fields = rest.split()[:cores]
            counts[int(name)] = sum(
                int(each) for each in fields if each.isascii() and each.isdigit()
            )
    return counts


def _cores(machine: Machine, number: int) -> frozenset[int]:
    folder = f"proc/irq/{number}"
    for name in ("effective_affinity_list", "smp_affinity_list"):
        if machine.exists(f"{folder}/{name}") and (text := machine.text(f"{folder}/{name}")):
            return cores_of(text, where=f"/{folder}/{name}")
    raise UnreadableError(f"/{folder} does not say which cores take it")


def _near(machine: Machine, interface: str) -> frozenset[int]:
    path = f"{NET}/{interface}/device/local_cpulist"
    return cores_of(machine.text(path), where=f"/{path}") if machine.exists(path) else frozenset()


CHECKS = (
    Check(
        name="interrupts",
        reads=("proc/interrupts", "proc/irq/*/effective_affinity_list", f"{NET}/*/device/msi_irqs"),
        why="Packets are taken by the core that gets the interrupt; on another NUMA node each of "
        "them is fetched over the link between the processors.",
        mend="let irqbalance place them, or bind them to the card's node "
        "(/sys/class/net/NAME/device/local_cpulist)",
        look=_placement,
        subjects=_in_use,
        nothing="no network card is in use",
    ),
)
