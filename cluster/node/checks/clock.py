"""The clock: who keeps it, and what it costs to read."""

from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict

_SOURCE = "sys/devices/system/clocksource/clocksource0/current_clocksource"
_SLOW = {"hpet", "acpi_pm", "jiffies"}
_MOST_SECONDS = 0.1
_KEEPERS = "start chrony or systemd-timesyncd"


def _synchronised(machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    state = machine.clock_state()
    wanted = f"synchronised, within {_MOST_SECONDS:g} s"
    records = purpose.role is Role.ACQUISITION
    mend = f"{_KEEPERS}; for cameras with PTP, ptp4l with phc2sys" if records else None
    if not state.synchronised:
        grave = Verdict.WRONG if records else Verdict.BETTER
        yield Seen(grave, "not synchronised", wanted, mend=mend)
    elif state.error_seconds > _MOST_SECONDS:
        found = f"synchronised, but it may be off by {state.error_seconds:.2f} s"
        yield Seen(Verdict.BETTER, found, wanted, mend=mend)
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
        why={
            Role.ACQUISITION: "Frames carry this machine's time; runs of two machines, certificates, "
            "S3 requests and latencies are compared by it.",
            Role.COMPUTE: "Certificates and S3 requests are refused where it is off, and what "
            "happened on several machines is put in order by it.",
            Role.STORAGE: "Certificates and S3 requests are refused where it is off, and how old a "
            "run is, by which it is moved, is known by it.",
        },
        mend=_KEEPERS,
        look=_synchronised,
    ),
    Check(
        name="clock source",
        reads=(_SOURCE,),
        why={
            role: f"{what}; hpet costs a microsecond for each, tsc 20 ns."
            for role, what in {
                Role.ACQUISITION: "Each frame is stamped several times",
                Role.COMPUTE: "Each step of a unit is timed",
                Role.STORAGE: "Each request and each move is timed",
            }.items()
        },
        mend="see in 'dmesg' why tsc was given up; a newer firmware often helps",
        look=_source,
    ),
)
