"""Parameters of the kernel, one check for each wish."""

import functools
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine, shown
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Verdict
from forebay.cluster.node.wanted import DIRTY, DIRTY_BACKGROUND, SYSCTLS
from forebay.cluster.node.wishes import Sysctl, path_of

_SOCKETS = "net."
_WITHOUT_NUMA = {"vm.zone_reclaim_mode", "kernel.numa_balancing"}
"""Parameters that a kernel without NUMA has not, and does not need."""


def _parameter(wish: Sysctl, machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    if wish.key in _WITHOUT_NUMA and not machine.exists(wish.path):
        yield Seen(Verdict.OK, "this kernel knows no NUMA")
        return
    found = machine.choice(wish.path)
    yield Seen(wish.verdict(purpose.role, found), found, wish.told(purpose.role))


def _dirty(wish: Sysctl, machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    given = machine.number(wish.path)
    if given:
        found, told = given, f"{given} bytes"
    else:
        # A part of what is free, if no number of bytes is given.
        percent = machine.number(path_of(wish.counterpart or ""))
        found = percent * _available(machine) // 100
        told = f"{percent} % of the memory, {found / 2**30:.1f} GiB now"
    yield Seen(wish.verdict(purpose.role, str(found)), told, wish.told(purpose.role))


def _available(machine: Machine) -> int:
    for line in machine.text("proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            words = rest.split()
            if words and words[0].isascii() and words[0].isdigit():
                return int(words[0]) * 1024
            raise UnreadableError(f"/proc/meminfo has {shown(line)}, which is no size")
    raise UnreadableError("/proc/meminfo does not say how much memory is available")


def _check(wish: Sysctl) -> Check:
    name = "socket buffers" if wish.key.startswith(_SOCKETS) else "kernel parameter"
    reads: tuple[str, ...] = (wish.path,)
    look = _parameter
    if wish in (DIRTY, DIRTY_BACKGROUND):
        name, look = "dirty data", _dirty
        reads = (wish.path, path_of(wish.counterpart or ""), "proc/meminfo")
    return Check(
        name=f"{name} {wish.key}",
        reads=reads,
        why=wish.why,
        mend="set it with 'forebay tune' (sysctl.d)",
        look=functools.partial(look, wish),
        roles=frozenset(wish.values),
    )


CHECKS = tuple(_check(wish) for wish in SYSCTLS)
