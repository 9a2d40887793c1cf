"""Network interfaces: the size of packets, and RDMA."""

import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.devices import NET, interfaces, is_ethernet, is_up, megabits
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine, shown
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Verdict

JUMBO = 9000
"""Bytes of a packet that carries frames."""
_FAST = 10_000
"""Megabits per second from which on small packets cost much."""
_RDMA = "sys/class/infiniband"


def _with_traffic(machine: Machine, purpose: Purpose) -> list[str]:
    return list(purpose.interfaces) or interfaces(machine)


def _packets(machine: Machine, purpose: Purpose, interface: str) -> Iterator[Seen]:
    if not machine.exists(f"{NET}/{interface}"):
        yield Seen(
            Verdict.WRONG,
            "there is no such interface",
            mend=f"name another one in node.interfaces; there are {', '.join(interfaces(machine)) or 'none'}",
        )
        return
    named = interface in purpose.interfaces
    if not is_up(machine, interface):
        verdict = Verdict.WRONG if named else Verdict.OK
        yield Seen(verdict, "not in use", "up" if named else "", mend="plug it in, switch it on")
        return
    if not is_ethernet(machine, interface):
        yield Seen(Verdict.OK, "no Ethernet")
        return
    size, speed = machine.number(f"{NET}/{interface}/mtu"), megabits(machine, interface)
    told = f"{size} bytes at {speed / 1000:g} Gbit/s" if speed else f"{size} bytes"
    if size >= JUMBO:
        yield Seen(Verdict.OK, told, f"at least {JUMBO} bytes")
    elif named or (speed or 0) >= _FAST:
        yield Seen(Verdict.BETTER, told, f"at least {JUMBO} bytes")
    else:
        yield Seen(Verdict.OK, f"{told}, and not named in node.interfaces")


def _ports(machine: Machine, _purpose: Purpose) -> list[str]:
    return [
        f"{device}/ports/{port}"
        for device in machine.names(_RDMA)
        for port in machine.names(f"{_RDMA}/{device}/ports")
    ]


def _port(machine: Machine, _purpose: Purpose, port: str) -> Iterator[Seen]:
    state, rate = (machine.text(f"{_RDMA}/{port}/{name}") for name in ("state", "rate"))
    if not re.fullmatch(r"[0-9]+: [A-Z_]+", state):
        raise UnreadableError(f"/{_RDMA}/{port}/state holds {shown(state)}, which is no state")
    subject = port.replace("/ports/", " port ")
    verdict = Verdict.OK if state.endswith(": ACTIVE") else Verdict.BETTER
    layer = machine.text(f"{_RDMA}/{port}/link_layer")
    yield Seen(verdict, f"{state.partition(': ')[2]}, {layer}, {rate}", "ACTIVE", subject=subject)


CHECKS = (
    Check(
        name="packet size",
        reads=(f"{NET}/*/mtu", f"{NET}/*/speed", f"{NET}/*/operstate"),
        why="A packet costs the same whatever its size: with 1500 bytes instead of 9000 there are "
        "six times as many, and a core is full at about 10 Gbit/s.",
        mend="set 9000 on both ends and on every switch between; name the interface in "
        "node.interfaces and 'forebay tune' makes it last (udev rules)",
        look=_packets,
        subjects=_with_traffic,
        nothing="there is no network card",
    ),
    Check(
        name="RDMA",
        reads=(f"{_RDMA}/*/ports/*/state", f"{_RDMA}/*/ports/*/rate"),
        why="By RDMA data go from memory to memory without a core; a port that is down leaves its "
        "share to TCP.",
        mend="look at the cable, and for InfiniBand at the subnet manager: 'ibstat'",
        look=_port,
        subjects=_ports,
        nothing="there is no RDMA device: TCP is used",
    ),
)
