"""GPUDirect: whether disks and network cards reach a GPU's memory by themselves."""

import re
from collections.abc import Iterator

from forebay.cluster.node.checks.check import Check, Seen
from forebay.cluster.node.checks.gpu import VERSION, nvidia_gpus
from forebay.cluster.node.devices import PCI, Kind, pci_device, pci_devices
from forebay.cluster.node.machine import Machine
from forebay.cluster.node.purpose import Purpose, Role
from forebay.cluster.node.verdict import Verdict
from forebay.cluster.node.wanted import IOMMU

RDMA = "sys/class/infiniband"
_UNTRANSLATED = {"identity"}


def _storage(machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    if not nvidia_gpus(machine, purpose):
        yield Seen(Verdict.OK, "there is no GPU of NVIDIA")
    elif not pci_devices(machine, Kind.NVME) and not machine.names(RDMA):
        yield Seen(Verdict.OK, "there is no disk or network that it could be used with")
    elif "nvidia_fs" in _modules(machine):
        yield Seen(Verdict.OK, "nvidia_fs is loaded", "nvidia_fs")
    else:
        yield Seen(
            Verdict.BETTER,
            "nvidia_fs is not loaded: reads go through host memory, unless this kernel's own way "
            "from NVMe to the GPU is used",
            "nvidia_fs",
        )


def _network(machine: Machine, purpose: Purpose, _subject: str) -> Iterator[Seen]:
    if not nvidia_gpus(machine, purpose):
        yield Seen(Verdict.OK, "there is no GPU of NVIDIA")
    elif not machine.names(RDMA):
        yield Seen(Verdict.OK, "there is no RDMA device that it could be used with")
    elif "nvidia_peermem" in _modules(machine):
        yield Seen(Verdict.OK, "nvidia_peermem is loaded", "nvidia_peermem, or DMA-BUF")
    elif "Open Kernel Module" in machine.text(VERSION):
        yield Seen(
            Verdict.OK, "the open driver hands memory out as DMA-BUF", "nvidia_peermem, or DMA-BUF"
        )
    else:
        yield Seen(Verdict.BETTER, "nvidia_peermem is not loaded", "nvidia_peermem, or DMA-BUF")


def _translation(machine: Machine, _purpose: Purpose, address: str) -> Iterator[Seen]:
    subject = str(pci_device(machine, address))
    group = machine.target(f"{PCI}/{address}/iommu_group")
    if group is None:
        yield Seen(Verdict.OK, "no IOMMU before it", subject=subject)
        return
    kind = machine.text(f"sys/kernel/iommu_groups/{group}/type")
    verdict = Verdict.OK if kind in _UNTRANSLATED else Verdict.BETTER
    yield Seen(verdict, f"{kind} (group {group})", "identity, or no IOMMU", subject=subject)


def _devices(machine: Machine, _purpose: Purpose) -> list[str]:
    return [device.address for device in pci_devices(machine)]


def _modules(machine: Machine) -> set[str]:
    return {match[0] for match in re.finditer(r"^\S+", machine.text("proc/modules"), re.MULTILINE)}


CHECKS = (
    Check(
        name="GPUDirect Storage",
        reads=("proc/modules",),
        why="With it a disk writes straight into the GPU's memory, for programs that read by KvikIO or "
        "cuFile. Units of forebay do not: their digests are compared in host memory.",
        mend="install nvidia-gds (nvidia-fs) and load nvidia_fs; 'gdscheck -p' says what is missing",
        look=_storage,
        roles=frozenset({Role.COMPUTE}),
    ),
    Check(
        name="GPUDirect RDMA",
        reads=("proc/modules", VERSION),
        why="With it workers send GPU memory to each other without a copy through host memory.",
        mend="load nvidia_peermem ('forebay tune' writes modules-load.d), or use the open driver",
        look=_network,
        roles=frozenset({Role.COMPUTE}),
    ),
    Check(
        name="IOMMU",
        reads=(f"{PCI}/*/iommu_group", "sys/kernel/iommu_groups/*/type"),
        why=IOMMU.why,
        mend="put iommu=pt on the kernel's command line ('forebay tune'), and restart",
        look=_translation,
        subjects=_devices,
        nothing="there is no GPU, network card or NVMe disk on PCI",
        roles=frozenset({Role.ACQUISITION, Role.COMPUTE}),
    ),
)
