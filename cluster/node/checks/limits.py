"""Limits of this process, which those that it starts inherit."""

import functools
import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict
from forebay.cluster.node.wanted import LIMITS
from forebay.cluster.node.wishes import Limit

_LIMITS = "proc/self/limits"
_REALTIME_SHARE = "proc/sys/kernel/sched_rt_runtime_us"
_REALTIME_PERIOD = "proc/sys/kernel/sched_rt_period_us"
_NAMES = {
    "nofile": "open files",
    "memlock": "locked memory",
    "rtprio": "real-time priority",
}


def _limit(wish: Limit, machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    for line in machine.text(_LIMITS).splitlines():
        if found := re.match(re.escape(wish.label) + r"\s+(\S+)\s+(\S+)", line):
            soft, hard = found.groups()
            told = soft if soft == hard else f"{soft}, may be raised to {hard}"
            yield Seen(wish.verdict(purpose.role, soft), told, wish.told(purpose.role))
            return
    raise UnreadableError(f"/{_LIMITS} does not tell of '{wish.label}'")


def _share(machine: Machine, _purpose: Purpose, _subject: str) -> Iterator[Seen]:
    share, period = machine.number(_REALTIME_SHARE), machine.number(_REALTIME_PERIOD)
    wanted = "at least 90 %, and not all"
    if share < 0:
        found = "all of the time: a thread that runs away stops the machine"
        yield Seen(Verdict.BETTER, found, wanted)
    elif period <= 0:
        raise UnreadableError(f"/{_REALTIME_PERIOD} holds {period}, which is no time")
    else:
        part = share / period
        verdict = Verdict.OK if part >= 0.9 else Verdict.WRONG
        yield Seen(verdict, f"{part:.0%} of the time", wanted)


CHECKS = (
    *(
        Check(
            name=f"limit of {_NAMES[wish.key]}",
            reads=(_LIMITS,),
            why=wish.why,
            mend=f"raise it with 'forebay tune' ({wish.systemd} for services, limits.d for the "
            "group's users, who have to log in anew)",
            look=functools.partial(_limit, wish),
            roles=frozenset(wish.values),
        )
        for wish in LIMITS
    ),
    Check(
        name="real-time share",
        reads=(_REALTIME_SHARE, _REALTIME_PERIOD),
        why="The part of the time that real-time threads may take of a core; where it is small a "
        "recording with a real-time priority is stopped again and again.",
        mend="take kernel.sched_rt_runtime_us back to 950000",
        look=_share,
        roles=frozenset({Role.ACQUISITION}),
    ),
)
