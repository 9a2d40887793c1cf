"""Which way frames go between devices: switches, host bridges, NUMA nodes."""

from collections.abc import Iterator, Sequence

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.checks.gpu import COMPUTING
from forebay.cluster.node.cpu_list import as_list, cores_of
from forebay.cluster.node.devices import (
    NET,
    PCI,
    Distance,
    Kind,
    PciDevice,
    cores_of_node,
    distance,
    interfaces,
    nodes,
    pci_device,
    pci_devices,
)
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict

_ORDER = {each: place for place, each in enumerate(Distance)}


def _gpus(machine: Machine, _purpose: Purpose) -> list[str]:
    return [device.address for device in pci_devices(machine, Kind.GPU)]


def _gpu(machine: Machine, _purpose: Purpose, address: str) -> Iterator[Seen]:
    gpu = pci_device(machine, address)
    if gpu.node is None:
        yield _node_not_said(gpu)
        return
    for kind in (Kind.NVME, Kind.NIC):
        if others := pci_devices(machine, kind):
            yield _nearest(gpu, others)


def _nearest(device: PciDevice, others: Sequence[PciDevice]) -> Seen:
    ways = [(way, each) for each in others if (way := distance(device, each))]
    wanted = "no other NUMA node between"
    subject = f"{device} to the nearest {others[0].kind}"
    if not ways:
        return Seen(
            Verdict.UNKNOWN,
            f"the firmware does not say on which node {others[0]} is",
            wanted,
            subject=subject,
        )
    way, nearest = min(ways, key=lambda pair: _ORDER[pair[0]])
    verdict = Verdict.BETTER if way is Distance.FAR else Verdict.OK
    return Seen(verdict, f"{nearest.address}, {way}", wanted, subject=subject)


def _cards(machine: Machine, purpose: Purpose) -> list[str]:
    """Return the interfaces that frames come through, as far as they are devices on PCI."""
    return [
        name for name in purpose.interfaces or interfaces(machine) if _address_of(machine, name)
    ]


def _address_of(machine: Machine, interface: str) -> str | None:
    address = machine.target(f"{NET}/{interface}/device")
    return address if address and machine.exists(f"{PCI}/{address}") else None


def _camera_path(machine: Machine, purpose: Purpose, interface: str) -> Iterator[Seen]:
    card = pci_device(machine, _address_of(machine, interface) or "")
    if card.node is None:
        yield _node_not_said(card)
        return
    if stores := pci_devices(machine, Kind.NVME):
        seen = _nearest(card, stores)
        yield Seen(
            seen.verdict, seen.found, seen.wanted, subject=f"{interface} to the nearest {Kind.NVME}"
        )
    near = cores_of_node(machine, card.node)
    if purpose.cores:
        far = set(purpose.cores) - near
        yield Seen(
            Verdict.BETTER if far else Verdict.OK,
            f"the recording runs on {as_list(purpose.cores)}, the card is at {as_list(near)}",
            "cores of the card's node",
            subject=f"{interface} to the recording",
            mend=f"choose acquisition.scheduling.cores among {as_list(near)}",
        )
    elif len(nodes(machine)) > 1:
        yield Seen(
            Verdict.BETTER,
            "the recording may run on any core",
            "cores of the card's node",
            subject=f"{interface} to the recording",
            mend=f"choose acquisition.scheduling.cores among {as_list(near)}, those of its node",
        )


def _node_not_said(device: PciDevice) -> Seen:
    return Seen(
        Verdict.UNKNOWN,
        "the firmware does not say on which NUMA node it is",
        subject=str(device),
        mend="look for a newer firmware; 'lspci -tv' shows the bridges, the board's manual the slots",
    )


def _memory(machine: Machine, _purpose: Purpose, _subject: str) -> Iterator[Seen]:
    there = nodes(machine)
    if len(there) == 1:
        yield Seen(Verdict.OK, "one node")
        return
    described = []
    empty = []
    for node in there:
        cores = cores_of_node(machine, node)
        described.append(f"node {node}: cores {as_list(cores) or 'none'}")
        path = f"sys/devices/system/node/node{node}/meminfo"
        words = machine.text(path).split("\n")[0].split()
        if cores and "MemTotal:" in words and words[words.index("MemTotal:") + 1 :][:1] == ["0"]:
            empty.append(node)
    if empty:
        yield Seen(
            Verdict.WRONG,
            f"{'; '.join(described)}; no memory on node {', '.join(map(str, empty))}",
            "memory on each node that has cores",
            mend="put memory modules into the slots of that processor",
        )
    else:
        online = "sys/devices/system/cpu/online"
        total = len(cores_of(machine.text(online), where=f"/{online}"))
        yield Seen(Verdict.OK, f"{'; '.join(described)}; {total} cores")


CHECKS = (
    Check(
        name="NUMA nodes",
        reads=("sys/devices/system/node/*/cpulist", "sys/devices/system/node/*/meminfo"),
        why="A core reaches memory of another node at half the rate, and all such traffic shares "
        "one link.",
        mend="see 'numactl --hardware'",
        look=_memory,
    ),
    Check(
        name="GPU layout",
        reads=(f"{PCI}/*/numa_node", f"{PCI}/*/class"),
        why="Data for a GPU that come over another NUMA node cross the link between the "
        "processors; GPUDirect is slow or refused there.",
        mend="put disk or network card into a slot of the GPU's processor, best below the same "
        "switch; else bind workers to the GPU's node ('numactl', dask-cuda does it by itself)",
        look=_gpu,
        subjects=_gpus,
        nothing="there is no GPU",
        roles=COMPUTING,
    ),
    Check(
        name="camera layout",
        reads=(f"{PCI}/*/numa_node", f"{NET}/*/device", "sys/devices/system/node/*/cpulist"),
        why="A frame goes from the card into memory and from there to the disk; on one node it "
        "crosses no link between processors, and its caches stay warm.",
        mend="put card and disk into slots of one processor, and run the recording on its cores",
        look=_camera_path,
        subjects=_cards,
        nothing="there is no network card on PCI",
        roles=frozenset({Role.ACQUISITION}),
    ),
)
