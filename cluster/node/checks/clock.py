"""The clock: who keeps it, and what it costs to read."""

from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict

_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
_SLOW = {"hpet", "acpi_pm", "jiffies"}
_MOST_SECONDS = 0.1


def _synchronised(machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    state = machine.clock_state()
    wanted = f"synchronised, within {_MOST_SECONDS:g} s"
    grave = Verdict.WRONG if purpose.role is Role.ACQUISITION else Verdict.BETTER
    if not state.synchronised:
        yield Seen(grave, "not synchronised", wanted)
    elif state.error_seconds > _MOST_SECONDS:
        found = f"synchronised, but it may be off by {state.error_seconds:.2f} s"
        yield Seen(Verdict.BETTER, found, wanted)
    else:
        found = f"synchronised, off by {state.error_seconds * 1000:.1f} ms at most"
        yield Seen(Verdict.OK, found, wanted)


def _source(machine: Machine, _purpose: Purpose, _subject: str) -> Iterator[Seen]:
    found = machine.text(_SOURCE)
    yield Seen(Verdict.BETTER if found in _SLOW else Verdict.OK, found, "tsc, or a guest's clock")


CHECKS = (
    Check(
        name="clock",
        reads=("adjtimex(2)",),
        why="Frames carry this machine's time; runs of two machines, certificates, S3 requests and "
        "latencies are compared by it.",
        mend="start chrony or systemd-timesyncd; for cameras with PTP, ptp4l with phc2sys",
        look=_synchronised,
    ),
    Check(
        name="clock source",
        reads=(_SOURCE,),
        why="Each frame is stamped several times; hpet costs a microsecond for each, tsc 20 ns.",
        mend="see in 'dmesg' why tsc was given up; a newer firmware often helps",
        look=_source,
    ),
)
