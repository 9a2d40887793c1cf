"""The plan for a machine: from what its role wishes for, and what the machine has."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from forebay.cluster.node.checks.direct import RDMA
from forebay.cluster.node.checks.gpu import nvidia_gpus
from forebay.cluster.node.checks.network import CHECKS as NETWORK_CHECKS
from forebay.cluster.node.checks.network import JUMBO
from forebay.cluster.node.cpu_list import as_list, cores_of
from forebay.cluster.node.devices import BLOCK, NET, DiskKind, disk_kind, disks
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role, reason_for
from forebay.cluster.node.tuning.plan import Line, LiveValue, Plan, PlannedFile
from forebay.cluster.node.wanted import (
    ARGUMENTS,
    ATTRIBUTES,
    DISK_ATTRIBUTES,
    GOVERNOR,
    LIMITS,
    SYSCTLS,
)
from forebay.cluster.node.wishes import (
    UNLIMITED,
    Attribute,
    DiskAttribute,
    Rule,
    Sysctl,
    number,
    path_of,
)

_MATCHES = {
    DiskKind.NVME: 'KERNEL=="nvme*n*"',
    DiskKind.SSD: 'KERNEL=="sd*", ATTR{queue/rotational}=="0"',
    DiskKind.ROTATING: 'KERNEL=="sd*", ATTR{queue/rotational}=="1"',
}
_SERVICE = "[Service]"
_RELOAD = "systemctl daemon-reload, and a restart of the service"


def plan_for(
    machine: Machine, purpose: Purpose, before: Mapping[str, str] = MappingProxyType({})
) -> Plan:
    """Return what a machine needs for what it is for; nothing is changed.

    It is the same for the same role, settings and machine.  Where the machine has more than is
    wanted already, that is kept.

    Parameters
    ----------
    machine
        The machine.
    purpose
        What it is for.
    before
        Values, by their paths, as they were before anything was applied; what the machine has of
        an earlier plan is no wish of its own.
    """
    present = _Present(machine, before)
    notes: list[str] = []
    files = [
        file
        for file in (
            _sysctl_file(present, purpose),
            _attribute_file(present, purpose),
            _rules_file(present, purpose, notes),
            _limits_file(purpose),
            _service_file(purpose),
            _interrupts_file(purpose),
            _modules_file(machine, purpose),
            _arguments_file(machine, purpose, notes),
        )
        if file.lines
    ]
    live = (
        *_live_sysctls(present, purpose),
        *_live_attributes(present, purpose),
        *_live_disks(present, purpose),
    )
    return Plan(purpose.role, tuple(sorted(files, key=lambda file: file.path)), live, tuple(notes))


class _Present:
    """What a machine has, apart from what an earlier plan has made of it."""

    def __init__(self, machine: Machine, before: Mapping[str, str]) -> None:
        self.machine = machine
        self._before = before

    def value(self, path: str) -> str | None:
        """Return a value; None where the machine does not tell."""
        if path in self._before:
            return self._before[path]
        try:
            return self.machine.choice(path)
        except UnreadableError:
            return None

    def parameter(self, wish: Sysctl, role: Role) -> str:
        found = self.value(wish.path)
        # Where its counterpart holds, 0 is no value.
        return wish.kept(role, None if wish.counterpart and found == "0" else found)

    def attribute(self, wish: Attribute, role: Role) -> str:
        return wish.kept(role, None if "*" in wish.pattern else self.value(wish.pattern))

    def disks(self, wish: DiskAttribute) -> list[str]:
        """Return the files of the disks that a wish is for."""
        found = []
        for disk in disks(self.machine):
            path = f"{BLOCK}/{disk}/queue/{wish.key}"
            with contextlib.suppress(UnreadableError):
                if disk_kind(self.machine, disk) is wish.kind and self.machine.exists(path):
                    found.append(path)
        return found

    def queue(self, wish: DiskAttribute, role: Role) -> str:
        """Return one value for all disks of a kind, since a rule does not know them singly."""
        value = wish.values[role]
        if wish.rule is Rule.EXACTLY:
            return value
        kept = [wish.kept(role, self.value(path)) for path in self.disks(wish)]
        return max([value, *kept], key=number)


def _sysctl_file(present: _Present, purpose: Purpose) -> PlannedFile:
    lines = tuple(
        Line(f"{wish.key} = {present.parameter(wish, purpose.role)}", wish.reason(purpose.role))
        for wish in SYSCTLS
        if wish.wanted(purpose.role) is not None
    )
    return PlannedFile(
        "etc/sysctl.d/90-forebay.conf",
        "Parameters of the kernel.",
        lines,
        "`sysctl --system`",
        "a restart, or `sysctl -w` with the values from before",
    )


def _attribute_file(present: _Present, purpose: Purpose) -> PlannedFile:
    lines = tuple(
        Line(
            f"w- /{wish.pattern} - - - - {present.attribute(wish, purpose.role)}",
            wish.reason(purpose.role),
        )
        for wish in ATTRIBUTES
        if wish.wanted(purpose.role) is not None
    )
    return PlannedFile(
        "etc/tmpfiles.d/forebay.conf",
        "The processor's clock, and huge pages."
        if GOVERNOR.wanted(purpose.role)
        else "Huge pages.",
        lines,
        "`systemd-tmpfiles --create`",
        "a restart",
    )


def _rules_file(present: _Present, purpose: Purpose, notes: list[str]) -> PlannedFile:
    lines = [
        Line(
            f'ACTION=="add|change", SUBSYSTEM=="block", ENV{{DEVTYPE}}=="disk", '
            f'{_MATCHES[wish.kind]}, ATTR{{queue/{wish.key}}}="{present.queue(wish, purpose.role)}"',
            wish.reason(purpose.role),
        )
        for wish in DISK_ATTRIBUTES
        if wish.wanted(purpose.role) is not None
    ]
    lines += _packet_rules(present.machine, purpose, notes)
    return PlannedFile(
        "etc/udev/rules.d/90-forebay.rules",
        "Queues of disks, and the size of packets." if purpose.interfaces else "Queues of disks.",
        tuple(lines),
        "`udevadm control --reload && udevadm trigger --subsystem-match=block --action=change`"
        + (
            "; for interfaces a restart, or `ip link set dev NAME mtu 9000`, which interrupts them"
            if purpose.interfaces
            else ""
        ),
        "a restart",
    )


def _packet_rules(machine: Machine, purpose: Purpose, notes: list[str]) -> Iterator[Line]:
    (check,) = (each for each in NETWORK_CHECKS if each.name == "packet size")
    why = reason_for(purpose.role, check.why)
    for interface in purpose.interfaces:
        try:
            address = machine.text(f"{NET}/{interface}/address")
        except UnreadableError as error:
            notes.append(f"packets of {JUMBO} bytes for {interface}: {error}")
            continue
        # Found by its address, for its name may be given only after the rule.
        yield Line(
            f'ACTION=="add|move", SUBSYSTEM=="net", DRIVERS=="?*", ATTR{{address}}=="{address}", '
            f'ATTR{{mtu}}="{JUMBO}"',
            why,
        )
    if not purpose.interfaces:
        notes.append(
            "the size of packets: a machine may lose its network by it, so that it is set only for "
            "the interfaces in the setting node.interfaces"
        )


def _limits_file(purpose: Purpose) -> PlannedFile:
    lines = tuple(
        Line(
            f"@{purpose.group} - {wish.key} {wish.values[purpose.role]}", wish.reason(purpose.role)
        )
        for wish in LIMITS
        if wish.wanted(purpose.role) is not None
    )
    return PlannedFile(
        "etc/security/limits.d/90-forebay.conf",
        f"Limits of the users in the group {purpose.group}.",
        lines,
        f"logging in anew, for users in the group (`groupadd --system {purpose.group}`, "
        f"`usermod --append --groups {purpose.group} USER`)",
        "logging in anew",
    )


def _service_file(purpose: Purpose) -> PlannedFile:
    lines = tuple(
        Line(f"{wish.systemd}={_for_systemd(wish.values[purpose.role])}", wish.reason(purpose.role))
        for wish in LIMITS
        if wish.wanted(purpose.role) is not None
    )
    return PlannedFile(
        "etc/systemd/system/forebay.service.d/90-forebay.conf",
        "Limits of the service forebay.service, to which those of users do not apply.",
        lines,
        _RELOAD,
        _RELOAD,
        _SERVICE,
    )


def _for_systemd(value: str) -> str:
    return "infinity" if value == UNLIMITED else value


def _interrupts_file(purpose: Purpose) -> PlannedFile:
    lines: tuple[Line, ...] = ()
    if purpose.role is Role.ACQUISITION and purpose.cores:
        lines = (
            Line(
                f"Environment=IRQBALANCE_BANNED_CPULIST={as_list(purpose.cores)}",
                "Interrupts stop the threads of the recording, which runs on these cores "
                "(acquisition.scheduling.cores).",
            ),
        )
    return PlannedFile(
        "etc/systemd/system/irqbalance.service.d/90-forebay.conf",
        "Cores that irqbalance leaves alone.",
        lines,
        _RELOAD,
        _RELOAD,
        _SERVICE,
    )


def _modules_file(machine: Machine, purpose: Purpose) -> PlannedFile:
    lines: tuple[Line, ...] = ()
    if purpose.role is Role.COMPUTE and nvidia_gpus(machine, purpose) and machine.names(RDMA):
        lines = (
            Line("nvidia_peermem", "The network card reads and writes the GPU's memory by itself."),
        )
    return PlannedFile(
        "etc/modules-load.d/forebay.conf",
        "Modules of the kernel.",
        lines,
        "`modprobe nvidia_peermem`",
        "a restart",
    )


def _arguments_file(machine: Machine, purpose: Purpose, notes: list[str]) -> PlannedFile:
    wanted = [
        (f"{wish.key}={wish.values[purpose.role]}", wish.reason(purpose.role))
        for wish in ARGUMENTS
        if wish.wanted(purpose.role) is not None
    ]
    if purpose.role is Role.ACQUISITION and purpose.cores:
        wanted += _core_arguments(machine, purpose, notes)
    words = " ".join(word for word, _ in wanted)
    return PlannedFile(
        "etc/default/grub.d/90-forebay.cfg",
        "Arguments of the kernel's command line.",
        tuple(
            Line(f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {word}"', why) for word, why in wanted
        ),
        "`update-grub` and a restart; where that is not there, "
        f"`grubby --update-kernel=ALL --args='{words}'` and a restart",
        f"`update-grub`, or `grubby --update-kernel=ALL --remove-args='{words}'`, and a restart",
    )


def _core_arguments(
    machine: Machine, purpose: Purpose, notes: list[str]
) -> Iterator[tuple[str, str]]:
    mine = as_list(purpose.cores)
    path = "sys/devices/system/cpu/online"
    try:
        others = cores_of(machine.text(path), where=f"/{path}") - set(purpose.cores)
    except UnreadableError as error:
        notes.append(f"keeping interrupts from the cores {mine}: {error}")
        return
    if not others:
        notes.append(f"keeping interrupts from the cores {mine}: there are no others")
        return
    yield (
        f"irqaffinity={as_list(others)}",
        "Interrupts go to cores that the recording does not run on, from the start.",
    )
    yield (
        f"nohz_full={mine}",
        "A core with a single thread of the recording is not stopped by the clock's ticks.",
    )
    yield (
        f"rcu_nocbs={mine}",
        "The kernel tidies up for these cores on others.",
    )


def _live_sysctls(present: _Present, purpose: Purpose) -> Iterator[LiveValue]:
    for wish in SYSCTLS:
        if wish.wanted(purpose.role) is not None and present.machine.exists(wish.path):
            other = None if wish.counterpart is None else path_of(wish.counterpart)
            yield LiveValue(wish.path, present.parameter(wish, purpose.role), other)


def _live_attributes(present: _Present, purpose: Purpose) -> Iterator[LiveValue]:
    root = present.machine.root
    for wish in ATTRIBUTES:
        if wish.wanted(purpose.role) is not None:
            for path in sorted(root.glob(wish.pattern)):
                value = present.attribute(wish, purpose.role)
                yield LiveValue(str(path.relative_to(root)), value)


def _live_disks(present: _Present, purpose: Purpose) -> Iterator[LiveValue]:
    for wish in DISK_ATTRIBUTES:
        if wish.wanted(purpose.role) is not None:
            for path in present.disks(wish):
                yield LiveValue(path, present.queue(wish, purpose.role))
