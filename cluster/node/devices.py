"""The devices of a machine: on PCI, disks, network interfaces."""

import os
import re
from dataclasses import dataclass
from enum import StrEnum

from forebay.cluster.node.cpu_list import cores_of
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine, shown

PCI = "sys/bus/pci/devices"
NET = "sys/class/net"
BLOCK = "sys/block"
NVIDIA = 0x10DE
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_ETHERNET, _INFINIBAND = 1, 32


class Kind(StrEnum):
    """What a PCI device is, as far as frames pass through it."""

    GPU = "GPU"
    NIC = "network card"
    NVME = "NVMe disk"


_CLASSES = {
    0x0300: Kind.GPU,
    0x0302: Kind.GPU,
    0x0200: Kind.NIC,
    0x0207: Kind.NIC,
    0x0108: Kind.NVME,
}


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A device on PCI Express."""

    address: str
    """Its place, such as ``0000:3b:00.0``."""
    kind: Kind
    """What it is."""
    vendor: int
    """Who made it."""
    node: int | None
    """Its NUMA node; None where the firmware does not say."""
    route: tuple[str, ...]
    """The host bridge and the bridges on the way to it."""

    @property
    def folder(self) -> str:
        """Where its files lie."""
        return f"{PCI}/{self.address}"

    def __str__(self) -> str:
        return f"{self.kind} {self.address}"


class Distance(StrEnum):
    """What lies between two devices, the nearest first; in brackets the word of nvidia-smi."""

    SWITCH = "the same PCIe switch (PIX, PXB)"
    BRIDGE = "the same host bridge (PHB)"
    NODE = "the same NUMA node (NODE)"
    FAR = "another NUMA node (SYS)"


def distance(one: PciDevice, other: PciDevice) -> Distance | None:
    """Return what lies between two devices; None where it cannot be told."""
    if one.route and other.route and one.route[0] == other.route[0]:
        shared = len(one.route) > 1 and one.route[1:2] == other.route[1:2]
        return Distance.SWITCH if shared else Distance.BRIDGE
    if one.node is None or other.node is None:
        return None
    return Distance.NODE if one.node == other.node else Distance.FAR


def pci_devices(machine: Machine, *kinds: Kind) -> list[PciDevice]:
    """Return the devices of some kinds, or of all.

    Parts of a card that are made for guests are left out, and what says nothing of itself.
    """
    found = []
    for address in machine.names(PCI):
        try:
            device = pci_device(machine, address)
        except UnreadableError:
            continue
        if not kinds or device.kind in kinds:
            found.append(device)
    return found


def pci_device(machine: Machine, address: str) -> PciDevice:
    """Return the device at an address.

    Raises
    ------
    UnreadableError
        If it is none of those that frames pass through, or says nothing of itself.
    """
    folder = f"{PCI}/{address}"
    kind = _CLASSES.get(_hexadecimal(machine, f"{folder}/class") >> 8)
    if kind is None or not _ADDRESS.fullmatch(address) or machine.exists(f"{folder}/physfn"):
        raise UnreadableError(f"/{folder} is no GPU, network card or disk")
    vendor = _hexadecimal(machine, f"{folder}/vendor")
    return PciDevice(address, kind, vendor, _node(machine, folder), _route(machine, folder))


def nodes(machine: Machine) -> list[int]:
    """Return the NUMA nodes that have memory or cores; node 0 where nothing is said."""
    names = machine.names("sys/devices/system/node")
    found = [int(name[4:]) for name in names if re.fullmatch(r"node[0-9]{1,4}", name)]
    return found or [0]


def cores_of_node(machine: Machine, node: int) -> frozenset[int]:
    """Return the cores of a NUMA node."""
    path = f"sys/devices/system/node/node{node}/cpulist"
    return cores_of(machine.text(path), where=f"/{path}")


def interfaces(machine: Machine) -> list[str]:
    """Return the network interfaces that a device stands behind."""
    return [name for name in machine.names(NET) if machine.exists(f"{NET}/{name}/device")]


def is_up(machine: Machine, interface: str) -> bool:
    """Return whether an interface is in use; unknown counts as in use."""
    return machine.text(f"{NET}/{interface}/operstate") in {"up", "unknown"}


def is_ethernet(machine: Machine, interface: str) -> bool:
    """Return whether an interface speaks Ethernet, rather than InfiniBand, say."""
    return machine.number(f"{NET}/{interface}/type") == _ETHERNET


def megabits(machine: Machine, interface: str) -> int | None:
    """Return the speed of an interface; None where it does not say, as virtual ones."""
    try:
        speed = machine.number(f"{NET}/{interface}/speed")
    except UnreadableError:
        return None
    return speed if speed > 0 else None


class DiskKind(StrEnum):
    """What a disk is like."""

    NVME = "NVMe"
    SSD = "SSD"
    ROTATING = "rotating"
    VIRTUAL = "virtual"


def disks(machine: Machine) -> list[str]:
    """Return the disks that a device stands behind: no loops, no memory, no volumes."""
    return [
        name
        for name in machine.names(BLOCK)
        if machine.exists(f"{BLOCK}/{name}/device")
        and not re.match(r"(sr|fd|mmcblk.*boot)", name)
        # The single paths to a disk with several are not for use.
        and not re.match(r"nvme[0-9]+c[0-9]+n", name)
    ]


def disk_kind(machine: Machine, disk: str) -> DiskKind:
    """Return what a disk is like.

    Raises
    ------
    UnreadableError
        If it does not say.
    """
    if re.match(r"(vd|xvd)", disk):
        return DiskKind.VIRTUAL
    if disk.startswith("nvme"):
        return DiskKind.NVME
    rotating = machine.number(f"{BLOCK}/{disk}/queue/rotational")
    return DiskKind.ROTATING if rotating else DiskKind.SSD


def _hexadecimal(machine: Machine, path: str) -> int:
    text = machine.text(path)
    try:
        return int(text, 16)
    except ValueError as error:
        raise UnreadableError(f"/{path} holds {shown(text)}, which is no number") from error


def _node(machine: Machine, folder: str) -> int | None:
    try:
        node = machine.number(f"{folder}/numa_node")
    except UnreadableError:
        return None
    if node >= 0:
        return node
    # The only node there is needs no firmware to say so.
    there = nodes(machine)
    return there[0] if len(there) == 1 else None


def _route(machine: Machine, folder: str) -> tuple[str, ...]:
    real = os.path.realpath(machine.path(folder))
    parts = real.split("/")
    bridge = next((n for n, part in enumerate(parts) if re.match(r"pci[0-9a-f]{4,8}:", part)), None)
    return () if bridge is None else tuple(parts[bridge:-1])
