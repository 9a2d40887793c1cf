"""The processor: its clock's governor."""

from collections import Counter
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.cpu_list import as_list
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.wanted import GOVERNOR

_CORES = "sys/devices/system/cpu"


def _governor(machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    cores = {
        int(name[3:]): f"{_CORES}/{name}/cpufreq/scaling_governor"
        for name in machine.names(_CORES)
        if name.startswith("cpu") and name[3:].isascii() and name[3:].isdigit()
    }
    there = {core: path for core, path in cores.items() if machine.exists(path)}
    if not there:
        raise UnreadableError(
            "no core has a governor here: the firmware or the host of this guest sets the clock"
        )
    governors = {core: machine.text(path) for core, path in there.items()}
    for governor, count in Counter(governors.values()).most_common():
        verdict = GOVERNOR.verdict(purpose.role, governor)
        found = f"{governor} on {count} of {len(cores)} cores"
        named = as_list(core for core, each in governors.items() if each == governor)
        yield Seen(verdict, found, GOVERNOR.told(purpose.role), subject=f"cores {named}")


CHECKS = (
    Check(
        name="processor governor",
        reads=(GOVERNOR.pattern,),
        why=GOVERNOR.why,
        mend="set it with 'forebay tune' (tmpfiles.d), or 'cpupower frequency-set -g performance'",
        look=_governor,
        roles=frozenset(GOVERNOR.values),
    ),
)
