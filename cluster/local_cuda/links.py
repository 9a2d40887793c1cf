"""What GPUs are next to: cores, the port of a network card, and other GPUs over NVLink."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forebay.cluster.node.cpu_list import as_list
from forebay.cluster.node.devices import (
    Distance,
    PciDevice,
    cores_of_node,
    distance,
    pci_device,
)
from forebay.cluster.node.errors import UnreadableError
from forebay.cluster.node.machine import Machine

_INFINIBAND = "sys/class/infiniband"
_MOST_NVLINKS = 18


@dataclass(frozen=True, slots=True)
class GpuPlace:
    """A GPU, and what it is next to."""

    number: int
    """Its number."""
    nvlink: bool = False
    """It is linked to another GPU."""
    node: int | None = None
    """Its NUMA node; None where the firmware does not say."""
    cores: str = ""
    """The cores of that node, such as ``0-15``."""
    port: str | None = None
    """The nearest port that speaks RDMA, such as ``mlx5_0:1``; None where none is in use."""


def gpu_places(machine: Machine, pynvml: Any, gpus: Sequence[int]) -> tuple[GpuPlace, ...]:
    """Return what GPUs are next to.

    Parameters
    ----------
    machine
        The machine.
    pynvml
        NVIDIA's library, initialised.
    gpus
        Their numbers.
    """
    return tuple(_place(machine, pynvml, number) for number in gpus)


def nearest_port(machine: Machine, gpu: str) -> str | None:
    """Return the port in use that is nearest to a GPU at an address on PCI; None without any."""
    try:
        device = pci_device(machine, gpu)
    except UnreadableError:
        return None
    found = [
        (order, port)
        for card in machine.names(_INFINIBAND)
        for port in _ports_in_use(machine, card)
        if (order := _order(machine, device, card)) is not None
    ]
    return min(found)[1] if found else None


def pci_address(pynvml: Any, handle: Any) -> str:
    """Return where a GPU is on PCI, as Linux writes it: NVIDIA's domains have eight digits."""
    found = pynvml.nvmlDeviceGetPciInfo(handle).busId
    text = found.decode() if isinstance(found, bytes) else str(found)
    return text.lower()[-12:]


def _place(machine: Machine, pynvml: Any, number: int) -> GpuPlace:
    handle = pynvml.nvmlDeviceGetHandleByIndex(number)
    address = pci_address(pynvml, handle)
    try:
        node = pci_device(machine, address).node
        cores = "" if node is None else as_list(cores_of_node(machine, node))
    except UnreadableError:
        node, cores = None, ""
    return GpuPlace(
        number, _has_nvlink(pynvml, handle), node, cores, nearest_port(machine, address)
    )


def _has_nvlink(pynvml: Any, handle: Any) -> bool:
    for link in range(_MOST_NVLINKS):
        try:
            if pynvml.nvmlDeviceGetNvLinkState(handle, link):
                return True
        except pynvml.NVMLError:
            # It has no link of that number, or none at all.
            return False
    return False


def _ports_in_use(machine: Machine, card: str) -> list[str]:
    ports = f"{_INFINIBAND}/{card}/ports"
    return [
        f"{card}:{port}"
        for port in machine.names(ports)
        if machine.text(f"{ports}/{port}/state").endswith("ACTIVE")
    ]


def _order(machine: Machine, gpu: PciDevice, card: str) -> int | None:
    """Return how far a card is, counted in kinds of distance; None where it is none on PCI."""
    address = machine.path(f"{_INFINIBAND}/{card}/device").resolve().name
    try:
        between = distance(gpu, pci_device(machine, address))
    except UnreadableError:
        return None
    # What cannot be told counts as far.
    return list(Distance).index(between or Distance.FAR)
