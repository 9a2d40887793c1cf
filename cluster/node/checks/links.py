"""PCI Express: whether each device's link is as wide and as fast as both ends can."""

import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.devices import PCI, Kind, PciDevice, pci_device, pci_devices
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine, shown
from forebay.cluster.node.purpose import Purpose
from forebay.cluster.node.verdict import Verdict


def _addresses(machine: Machine, _purpose: Purpose) -> list[str]:
    return [device.address for device in pci_devices(machine)]


def _link(machine: Machine, _purpose: Purpose, address: str) -> Iterator[Seen]:
    device = pci_device(machine, address)
    folder = device.folder
    if not machine.exists(f"{folder}/current_link_width"):
        yield Seen(
            Verdict.OK,
            "no link of its own: a part of the processor, or a guest's",
            subject=str(device),
        )
        return
    width, speed = _width(machine, folder, "current"), _speed(machine, folder, "current")
    most_wide, most_fast = _width(machine, folder, "max"), _speed(machine, folder, "max")
    slot_wide, slot_fast = _slot(machine, device)
    found = f"×{width} at {speed:g} GT/s"
    able = f"×{min(most_wide, slot_wide)} at {min(most_fast, slot_fast):g} GT/s"
    if width < min(most_wide, slot_wide):
        yield Seen(
            Verdict.WRONG,
            found,
            able,
            subject=str(device),
            mend="both ends can do more: seat the card, or its riser, anew; look for errors with "
            "'dmesg | grep -i aer'",
        )
    elif speed < min(most_fast, slot_fast) and device.kind is Kind.GPU:
        yield Seen(
            Verdict.UNKNOWN,
            f"{found}: a GPU without work lowers its link, so this says nothing",
            able,
            subject=str(device),
            mend="look again while it computes: 'nvidia-smi -q -d PERFORMANCE,PCIE' shows both",
        )
    elif speed < min(most_fast, slot_fast):
        yield Seen(
            Verdict.BETTER,
            found,
            able,
            subject=str(device),
            mend="look in the firmware's setup whether the slot is held at a lower generation, "
            "and for errors with 'dmesg | grep -i aer'",
        )
    elif width < most_wide or speed < most_fast:
        yield Seen(
            Verdict.BETTER,
            f"{found}, all that its slot has",
            f"×{most_wide} at {most_fast:g} GT/s, which the card can do",
            subject=str(device),
        )
    else:
        yield Seen(Verdict.OK, found, able, subject=str(device))


def _slot(machine: Machine, device: PciDevice) -> tuple[int, float]:
    """Return what the bridge above a device can do; without one, no less than the device."""
    if len(device.route) > 1:
        folder = f"{PCI}/{device.route[-1]}"
        if machine.exists(f"{folder}/max_link_width"):
            return _width(machine, folder, "max"), _speed(machine, folder, "max")
    return _width(machine, device.folder, "max"), _speed(machine, device.folder, "max")


def _width(machine: Machine, folder: str, which: str) -> int:
    width = machine.number(f"{folder}/{which}_link_width")
    # 255 is what is said where there is no link.
    if not 0 < width <= 32:
        raise UnreadableError(f"/{folder}/{which}_link_width holds {width}, which is no width")
    return width


def _speed(machine: Machine, folder: str, which: str) -> float:
    path = f"{folder}/{which}_link_speed"
    text = machine.text(path)
    found = re.match(r"([0-9]{1,4}(?:\.[0-9]{1,3})?) GT/s", text)
    if not found:
        raise UnreadableError(f"/{path} holds {shown(text)}, which is no speed")
    return float(found[1])


CHECKS = (
    Check(
        name="PCI Express link",
        reads=tuple(
            f"{PCI}/*/{which}_link_{what}"
            for what in ("width", "speed")
            for which in ("current", "max")
        ),
        why="The link bounds what passes between a device and memory: ×16 at 16 GT/s is 26 GB/s in "
        "practice, ×4 a quarter of it.",
        mend="put the card into a slot that has as many lanes as it can use",
        look=_link,
        subjects=_addresses,
        nothing="there is no GPU, network card or NVMe disk on PCI",
    ),
)
