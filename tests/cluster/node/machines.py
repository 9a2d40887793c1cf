"""Machines as their files show them: what is read of /proc and /sys, and nothing else."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max open files            1024                 1048576              files     
Max locked memory         8388608              8388608              bytes     
Max nice priority         0                    0                    
Max realtime priority     0                    0                    
Max realtime timeout      unlimited            unlimited            us        
"""
RAISED_LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units     
Max open files            1048576              1048576              files     
Max locked memory         unlimited            unlimited            bytes     
Max realtime priority     99                   99                   
"""


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


type Files = dict[str, str | Link]


def build(root: Path, files: Mapping[str, str | Link]) -> Path:
    """Make the files below a root."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target)
        else:
            path.write_text(content)
    return root


def pci(
    route: str,
    kind: int,
    vendor: int,
    *,
    node: int = 0,
    width: str = "16/16",
    speed: str = "16.0/16.0",
    group: tuple[int, str] | None = None,
    driver: str | None = None,
    resource: str | None = None,
) -> Files:
    """Return a device; `route` begins with the host bridge and ends with the device."""
    address = route.rpartition("/")[2]
    folder = f"sys/devices/{route}"
    width_now, width_most = width.split("/")
    speed_now, speed_most = speed.split("/")
    files: Files = {
        f"sys/bus/pci/devices/{address}": Link(f"../../../devices/{route}"),
        f"{folder}/class": f"0x{kind:06x}\n",
        f"{folder}/vendor": f"0x{vendor:04x}\n",
        f"{folder}/numa_node": f"{node}\n",
        f"{folder}/current_link_width": f"{width_now}\n",
        f"{folder}/max_link_width": f"{width_most}\n",
        f"{folder}/current_link_speed": f"{speed_now} GT/s PCIe\n",
        f"{folder}/max_link_speed": f"{speed_most} GT/s PCIe\n",
    }
    if group:
        number, way = group
        up = "../" * (len(Path(folder).parts) - 1)
        files[f"{folder}/iommu_group"] = Link(f"{up}kernel/iommu_groups/{number}")
        files[f"sys/kernel/iommu_groups/{number}/type"] = f"{way}\n"
    if driver:
        files[f"{folder}/driver"] = Link(
            f"{'../' * len(Path(route).parts)}../bus/pci/drivers/{driver}"
        )
    if resource:
        files[f"{folder}/resource"] = resource
    return files


def bridge(route: str, *, width: int = 16, speed: str = "16.0") -> Files:
    """Return a bridge on the way to other devices."""
    return pci(route, 0x060400, 0x8086, width=f"{width}/{width}", speed=f"{speed}/{speed}")


def card(
    name: str, route: str, *, mtu: int, megabits: int, cores: str, irqs: Mapping[int, str]
) -> Files:
    """Return a network interface of a PCI device."""
    folder = f"sys/class/net/{name}"
    device = f"sys/devices/{route}"
    return {
        f"{folder}/device": Link(f"../../../devices/{route}"),
        f"{folder}/mtu": f"{mtu}\n",
        f"{folder}/speed": f"{megabits}\n",
        f"{folder}/operstate": "up\n",
        f"{folder}/type": "1\n",
        f"{folder}/address": "3c:ec:ef:12:34:56\n",
        f"{device}/local_cpulist": f"{cores}\n",
        **{f"{device}/msi_irqs/{irq}": "msix\n" for irq in irqs},
        **{f"proc/irq/{irq}/effective_affinity_list": f"{on}\n" for irq, on in irqs.items()},
    }


def interrupts(cores: int, counts: Mapping[int, int]) -> str:
    """Return /proc/interrupts; all of an interrupt's counts stand with the first core."""
    lines = ["   " + "".join(f"{f'CPU{core}':>11}" for core in range(cores))]
    for irq, count in counts.items():
        fields = "".join(f"{count if core == 0 else 0:>11}" for core in range(cores))
        lines.append(f"{irq:>4}:{fields}  IR-PCI-MSIX-0000:01:00.0   1-edge      card-TxRx-{irq}")
    lines.append(" NMI:" + "          7" * cores + "   Non-maskable interrupts")
    lines.append(" ERR:          0")
    return "\n".join(lines) + "\n"


def disk(name: str, *, rotational: int, scheduler: str, read_ahead: int) -> Files:
    return {
        f"sys/block/{name}/device": Link(f"../../devices/some/{name}"),
        f"sys/block/{name}/queue/rotational": f"{rotational}\n",
        f"sys/block/{name}/queue/scheduler": f"{scheduler}\n",
        f"sys/block/{name}/queue/read_ahead_kb": f"{read_ahead}\n",
    }


def cores(count: int, governor: str | None) -> Files:
    files: Files = {"sys/devices/system/cpu/online": f"0-{count - 1}\n"}
    for core in range(count):
        folder = f"sys/devices/system/cpu/cpu{core}"
        files[f"{folder}/topology/core_id"] = f"{core}\n"
        if governor:
            files[f"{folder}/cpufreq/scaling_governor"] = f"{governor}\n"
    return files


def numa(*lists: str) -> Files:
    files: Files = {}
    for node, cpulist in enumerate(lists):
        folder = f"sys/devices/system/node/node{node}"
        files[f"{folder}/cpulist"] = f"{cpulist}\n"
        files[f"{folder}/meminfo"] = f"Node {node} MemTotal:       263919472 kB\n"
    return files


def huge_pages(enabled: str, shmem: str, defrag: str, *, reserved: int = 0) -> Files:
    folder = "sys/kernel/mm/transparent_hugepage"
    return {
        f"{folder}/enabled": f"{enabled}\n",
        f"{folder}/shmem_enabled": f"{shmem}\n",
        f"{folder}/defrag": f"{defrag}\n",
        "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": f"{reserved}\n",
        "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": f"{reserved}\n",
    }


DEFAULT_SYSCTLS = {
    "vm.dirty_background_bytes": "0",
    "vm.dirty_background_ratio": "10",
    "vm.dirty_bytes": "0",
    "vm.dirty_ratio": "20",
    "vm.swappiness": "60",
    "vm.zone_reclaim_mode": "0",
    "vm.min_free_kbytes": "67584",
    "kernel.numa_balancing": "0",
    "kernel.sched_rt_runtime_us": "950000",
    "kernel.sched_rt_period_us": "1000000",
    "net.core.rmem_max": "212992",
    "net.core.wmem_max": "212992",
    "net.ipv4.tcp_rmem": "4096\t131072\t6291456",
    "net.ipv4.tcp_wmem": "4096\t16384\t4194304",
    "net.core.netdev_max_backlog": "1000",
    "net.core.netdev_budget": "300",
    "fs.inotify.max_user_instances": "128",
    "fs.inotify.max_user_watches": "1048576",
}
TUNED_SYSCTLS = DEFAULT_SYSCTLS | {
    "vm.dirty_background_bytes": "268435456",
    "vm.dirty_background_ratio": "0",
    "vm.dirty_bytes": "2147483648",
    "vm.dirty_ratio": "0",
    "vm.swappiness": "1",
    "vm.min_free_kbytes": "1048576",
    "net.core.rmem_max": "268435456",
    "net.core.wmem_max": "268435456",
    "net.ipv4.tcp_rmem": "4096\t131072\t134217728",
    "net.ipv4.tcp_wmem": "4096\t65536\t134217728",
    "net.core.netdev_max_backlog": "250000",
    "net.core.netdev_budget": "600",
    "fs.inotify.max_user_instances": "8192",
}


def sysctls(values: Mapping[str, str]) -> Files:
    return {f"proc/sys/{key.replace('.', '/')}": f"{value}\n" for key, value in values.items()}


def meminfo(gib: int) -> Files:
    kib = gib * 2**20
    return {
        "proc/meminfo": f"MemTotal:       {kib} kB\nMemFree:         1 kB\nMemAvailable:   {kib} kB\n"
    }


WORKSTATION_NIC = "pci0000:00/0000:00:01.0/0000:01:00.0"
"""A camera's workstation as it was unpacked: nobody has tuned anything."""
WORKSTATION: Files = {
    **cores(8, "powersave"),
    **numa("0-7"),
    **meminfo(64),
    **huge_pages("always [madvise] never", "always within_size advise [never] deny force", "[always] defer defer+madvise madvise never", reserved=8192),
    **sysctls(DEFAULT_SYSCTLS),
    "proc/self/limits": DEFAULT_LIMITS,
    "proc/modules": "nouveau 2379776 1 - Live 0x0000000000000000\nixgbe 389120 0 - Live 0x0\n",
    "proc/interrupts": interrupts(8, {120: 3, **{130 + n: 1000 for n in range(4)}}),
    **bridge("pci0000:00/0000:00:01.0", width=8, speed="8.0"),
    **pci(WORKSTATION_NIC, 0x020000, 0x8086, width="4/8", speed="8.0/8.0", group=(12, "DMA-FQ")),
    **card("enp1s0f0", WORKSTATION_NIC, mtu=1500, megabits=10000, cores="0-7", irqs={130 + n: "0" for n in range(5)}),
    **bridge("pci0000:00/0000:00:06.0", width=4),
    **pci("pci0000:00/0000:00:06.0/0000:02:00.0", 0x010802, 0x144D, width="4/4", speed="8.0/16.0", group=(13, "DMA-FQ")),
    **disk("nvme0n1", rotational=0, scheduler="none [mq-deadline] kyber bfq", read_ahead=128),
    **disk("sda", rotational=1, scheduler="none mq-deadline kyber [bfq]", read_ahead=128),
    "sys/block/loop0/queue/rotational": "1\n",
    **pci("pci0000:00/0000:00:1c.0/0000:04:00.0", 0x030000, 0x10DE, width="16/16", speed="2.5/16.0", group=(14, "DMA-FQ"), driver="nouveau", resource="0x00000000a0000000 0x00000000a0ffffff 0x0000000000040200\n0x0000000090000000 0x000000009fffffff 0x000000000014220c\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n"),
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
}  # fmt: skip

SERVER_NIC = "pci0000:30/0000:30:01.0/0000:31:00.0/0000:32:00.0/0000:33:00.0"
SERVER_GPU = "pci0000:30/0000:30:01.0/0000:31:00.0/0000:32:04.0/0000:34:00.0"
_BAR = "0x00000000c4000000 0x00000000c4ffffff 0x0000000000040200\n0x0000206000000000 0x0000207fffffffff 0x000000000014220c\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n0x0000208000000000 0x0000208001ffffff 0x000000000014220c\n"
"""Two sockets, a GPU and an RDMA card below one switch, and all of it tuned; but a second GPU is
at the other socket, far from the only disk."""
SERVER: Files = {
    **cores(16, "performance"),
    **numa("0-7", "8-15"),
    **meminfo(512),
    **huge_pages("always [madvise] never", "always within_size [advise] never deny force", "always defer [defer+madvise] madvise never"),
    **sysctls(TUNED_SYSCTLS),
    "proc/self/limits": RAISED_LIMITS,
    "proc/modules": "nvidia_fs 286720 0 - Live 0x0\nnvidia_peermem 20480 0 - Live 0x0\nnvidia 11481088 1 - Live 0x0\n",
    "proc/interrupts": interrupts(16, {200 + n: 5000 for n in range(4)}),
    **bridge("pci0000:30/0000:30:01.0"),
    **bridge("pci0000:30/0000:30:01.0/0000:31:00.0"),
    **bridge("pci0000:30/0000:30:01.0/0000:31:00.0/0000:32:00.0"),
    **bridge("pci0000:30/0000:30:01.0/0000:31:00.0/0000:32:04.0"),
    **pci(SERVER_NIC, 0x020000, 0x15B3, group=(40, "identity")),
    **card("ens1np0", SERVER_NIC, mtu=9000, megabits=200000, cores="0-7", irqs={200 + n: f"{n}" for n in range(4)}),
    **pci(SERVER_GPU, 0x030200, 0x10DE, group=(41, "identity"), driver="nvidia", resource=_BAR),
    **pci("pci0000:30/0000:30:03.0/0000:36:00.0", 0x010802, 0x144D, width="4/4", group=(42, "identity")),
    **disk("nvme0n1", rotational=0, scheduler="[none] mq-deadline", read_ahead=4096),
    **pci("pci0000:b0/0000:b0:01.0/0000:b1:00.0", 0x030200, 0x10DE, node=1, group=(43, "identity"), driver="nvidia", resource=_BAR),
    "sys/class/infiniband/mlx5_0/ports/1/state": "4: ACTIVE\n",
    "sys/class/infiniband/mlx5_0/ports/1/rate": "200 Gb/sec (4X HDR)\n",
    "sys/class/infiniband/mlx5_0/ports/1/link_layer": "Ethernet\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (dvs-builder@U16)\nGCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n",
    "run/nvidia-persistenced/socket": "",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
}  # fmt: skip

GUEST: Files = {
    **cores(2, None),
    **numa("0-1"),
    **meminfo(23),
    **huge_pages("always [madvise] never", "always within_size advise [never] deny force", "always defer defer+madvise [madvise] never"),
    **sysctls({key: value for key, value in DEFAULT_SYSCTLS.items() if key not in {"kernel.numa_balancing", "vm.zone_reclaim_mode"}}),
    "proc/self/limits": DEFAULT_LIMITS,
    "proc/modules": "",
    "proc/interrupts": interrupts(2, {25: 900}),
    "sys/bus/pci/devices/0000:00:03.0/class": "0x020000\n",
    "sys/bus/pci/devices/0000:00:03.0/vendor": "0x1af4\n",
    "sys/bus/pci/devices/0000:00:03.0/numa_node": "-1\n",
    "sys/class/net/eth0/device": Link("../../../bus/pci/devices/0000:00:03.0/virtio1"),
    "sys/class/net/eth0/mtu": "1500\n",
    "sys/class/net/eth0/speed": "-1\n",
    "sys/class/net/eth0/operstate": "up\n",
    "sys/class/net/eth0/type": "1\n",
    **disk("vda", rotational=1, scheduler="[none] mq-deadline", read_ahead=128),
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "kvm-clock\n",
}  # fmt: skip
"""A guest of a host that shows little of itself."""


def numbered(path: str) -> bool:
    """Return whether a file of these machines holds a number alone."""
    return bool(re.search(r"proc/sys/(?!.*tcp_)|_width$|numa_node$|/mtu$|read_ahead_kb$", path))


def everything(root: Path) -> list[str]:
    """Return the files below a root that are no links."""
    return sorted(
        os.path.relpath(Path(folder, name), root)
        for folder, _, names in os.walk(root)
        for name in names
        if not Path(folder, name).is_symlink()
    )
