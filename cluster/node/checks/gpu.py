"""GPUs: the driver, whether it stays loaded, and the window through which others see their memory."""

import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.devices import NVIDIA, PCI, Kind, pci_devices
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine, shown
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict

VERSION = "proc/driver/nvidia/version"
COMPUTING = frozenset({Role.ACQUISITION, Role.COMPUTE})
"""Roles of machines on which units may run on a GPU: recordings are processed live."""
_PERSISTENCED = "run/nvidia-persistenced/socket"
_OLDEST = (525, 60, 13)
"""The oldest driver that CUDA 12 runs on."""
_SMALL_WINDOW = 256 * 2**20
_REGIONS = 6
"""Regions of a device's own; the lines behind them are its ROM and its bridges'."""


def nvidia_gpus(machine: Machine, _purpose: Purpose) -> list[str]:
    """Return the addresses of NVIDIA's GPUs."""
    return [each.address for each in pci_devices(machine, Kind.GPU) if each.vendor == NVIDIA]


def _driver(machine: Machine, _purpose: Purpose, address: str) -> Iterator[Seen]:
    wanted = f"nvidia {'.'.join(map(str, _OLDEST))} or newer"
    driver = machine.target(f"{PCI}/{address}/driver")
    if driver != "nvidia":
        found = f"{driver} has it" if driver else "no driver has it"
        yield Seen(Verdict.WRONG, found, wanted)
        return
    version = driver_version(machine)
    verdict = Verdict.OK if version >= _OLDEST else Verdict.WRONG
    yield Seen(verdict, f"nvidia {'.'.join(map(str, version))}", wanted)


def driver_version(machine: Machine) -> tuple[int, ...]:
    """Return the version of NVIDIA's driver.

    Raises
    ------
    UnreadableError
        If there is none.
    """
    text = machine.text(VERSION)
    found = re.search(r"NVRM version:.*?\s(\d{3,5})\.(\d{1,4})(?:\.(\d{1,4}))?\s", f"{text} ")
    if not found:
        raise UnreadableError(f"/{VERSION} holds {shown(text)}, without a version")
    return tuple(int(part) for part in found.groups() if part is not None)


def _persistence(machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    if not nvidia_gpus(machine, purpose):
        yield Seen(Verdict.OK, "there is no GPU of NVIDIA")
        return
    if machine.exists(_PERSISTENCED):
        yield Seen(Verdict.OK, "nvidia-persistenced runs", "on")
        return
    answer = machine.run(
        ["nvidia-smi", "--query-gpu=pci.bus_id,persistence_mode", "--format=csv,noheader"]
    )
    if answer.code:
        said = (answer.err or answer.out).strip().partition("\n")[0]
        raise UnreadableError(f"nvidia-smi ends with code {answer.code}: {said}")
    for line in answer.out.splitlines():
        address, _, mode = (part.strip() for part in line.partition(","))
        verdict = Verdict.OK if mode == "Enabled" else Verdict.BETTER
        yield Seen(verdict, mode or shown(line), "on", subject=f"GPU {address}")


def _window(machine: Machine, _purpose: Purpose, address: str) -> Iterator[Seen]:
    path = f"{PCI}/{address}/resource"
    sizes = []
    for line in machine.text(path).splitlines()[:_REGIONS]:
        try:
            begin, end, _flags = (int(word, 16) for word in line.split())
        except ValueError as error:
            raise UnreadableError(f"/{path} holds {shown(line)}, which is no region") from error
        sizes.append(end - begin + 1 if end > begin else 0)
    largest = max(sizes, default=0)
    if not largest:
        raise UnreadableError(f"/{path} tells of no region")
    verdict = Verdict.OK if largest > _SMALL_WINDOW else Verdict.BETTER
    yield Seen(verdict, f"{largest / 2**20:g} MiB", "as large as the GPU's memory")


CHECKS = (
    Check(
        name="GPU driver",
        reads=(f"{PCI}/*/driver", VERSION),
        why="Without NVIDIA's driver, of a version that CUDA 12 runs on, no unit runs on the GPU.",
        mend="install the driver of the distribution or of NVIDIA (nvidia-open), blacklist "
        "nouveau, restart",
        look=_driver,
        subjects=nvidia_gpus,
        nothing="there is no GPU of NVIDIA",
        roles=COMPUTING,
    ),
    Check(
        name="GPU persistence",
        reads=(_PERSISTENCED, "nvidia-smi"),
        why="Else the driver forgets the GPU whenever nobody uses it, and the next unit waits one "
        "to several seconds for it.",
        mend="systemctl enable --now nvidia-persistenced",
        look=_persistence,
        roles=COMPUTING,
    ),
    Check(
        name="GPU window",
        reads=(f"{PCI}/*/resource",),
        why="Other devices reach the GPU's memory through its BAR; where that is smaller than the "
        "memory, GPUDirect has to move a small window about, or is refused.",
        mend="switch on 'Above 4G decoding' and 'Resizable BAR' in the firmware's setup, if the GPU "
        "has it",
        look=_window,
        subjects=nvidia_gpus,
        nothing="there is no GPU of NVIDIA",
        roles=COMPUTING,
    ),
)
