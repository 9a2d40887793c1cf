"""Everything that a role wishes for that is a single value: the one table of it.

`forebay.cluster.node.doctor` examines a machine by it, `forebay.cluster.node.tuning` writes the
files that make it so.
"""

from collections.abc import Mapping

from forebay.cluster.node.devices import DiskKind
from forebay.cluster.node.purpose import Role
from forebay.cluster.node.wishes import (
    UNLIMITED,
    Argument,
    Attribute,
    DiskAttribute,
    Limit,
    Rule,
    Sysctl,
)

_MIB, _GIB = 2**20, 2**30


def _each(value: int | str, *roles: Role) -> Mapping[Role, str]:
    return dict.fromkeys(roles or Role, str(value))


DIRTY_BACKGROUND = Sysctl(
    key="vm.dirty_background_bytes",
    counterpart="vm.dirty_background_ratio",
    values={
        Role.ACQUISITION: str(256 * _MIB),
        Role.COMPUTE: str(_GIB),
        Role.STORAGE: str(_GIB),
    },
    rule=Rule.AT_MOST,
    why="Written data that wait in memory go to disk early and evenly, not in one late wave that "
    "holds up everybody else.",
)
DIRTY = Sysctl(
    key="vm.dirty_bytes",
    counterpart="vm.dirty_ratio",
    values={
        Role.ACQUISITION: str(2 * _GIB),
        Role.COMPUTE: str(8 * _GIB),
        Role.STORAGE: str(8 * _GIB),
    },
    rule=Rule.AT_MOST,
    grave=frozenset({Role.ACQUISITION}),
    why={
        role: "At this limit every program that writes is stopped until the disk has caught up; a "
        f"fifth of a large memory takes a disk many seconds, in which {what}."
        for role, what in {
            Role.ACQUISITION: "a camera's ring runs over",
            Role.COMPUTE: "units wait with their results",
            Role.STORAGE: "all who bring runs or results wait",
        }.items()
    },
)
SYSCTLS = (
    DIRTY_BACKGROUND,
    DIRTY,
    Sysctl(
        key="vm.swappiness",
        values={Role.ACQUISITION: "1", Role.COMPUTE: "10", Role.STORAGE: "10"},
        rule=Rule.AT_MOST,
        why={
            Role.ACQUISITION: "A buffer that was swapped out comes back slower than a camera sends.",
            Role.COMPUTE: "Arrays that were swapped out come back slower than they are computed.",
            Role.STORAGE: "A program that was swapped out, to keep files in memory that nobody may "
            "read again, answers late.",
        },
    ),
    Sysctl(
        key="vm.zone_reclaim_mode",
        values=_each(0),
        why="Else a NUMA node throws cached data away before it takes free memory of another node.",
    ),
    Sysctl(
        key="vm.min_free_kbytes",
        values=_each(256 * 1024, Role.ACQUISITION),
        rule=Rule.AT_LEAST,
        why="The network card's driver takes memory for packets without waiting; where the page "
        "cache has left none, packets are lost.",
    ),
    Sysctl(
        key="kernel.numa_balancing",
        values=_each(0, Role.ACQUISITION, Role.COMPUTE),
        why="The kernel unmaps pages to see who uses them, and moves them; threads that are placed "
        "already only pay for it.",
    ),
    Sysctl(
        key="net.core.rmem_max",
        values=_each(64 * _MIB),
        rule=Rule.AT_LEAST,
        grave=frozenset({Role.ACQUISITION}),
        why="The most that a socket may hold of what has come and is not fetched yet: at 10 Gbit/s "
        "the usual 208 KiB bridge 0.2 ms, 64 MiB bridge 50 ms.",
    ),
    Sysctl(
        key="net.core.wmem_max",
        values=_each(64 * _MIB),
        rule=Rule.AT_LEAST,
        why="The most that a socket may hold of what is to be sent; it bounds the rate over a "
        "distance.",
    ),
    Sysctl(
        key="net.ipv4.tcp_rmem",
        values=_each(f"4096 131072 {64 * _MIB}"),
        rule=Rule.AT_LEAST,
        why="How far TCP may open its window by itself: least, first and most bytes; rate times "
        "round trip has to fit.",
    ),
    Sysctl(
        key="net.ipv4.tcp_wmem",
        values=_each(f"4096 16384 {64 * _MIB}"),
        rule=Rule.AT_LEAST,
        why="How much TCP may send before it is acknowledged: least, first and most bytes.",
    ),
    Sysctl(
        key="net.core.netdev_max_backlog",
        values=_each(30000, Role.ACQUISITION, Role.STORAGE),
        rule=Rule.AT_LEAST,
        why="Packets that wait for a core where the card hands them to another one; beyond that "
        "they are dropped.",
    ),
    Sysctl(
        key="net.core.netdev_budget",
        values=_each(600, Role.ACQUISITION),
        rule=Rule.AT_LEAST,
        why="Packets that are taken from a card in one go; with fewer the card's own buffer runs "
        "over in a burst of frames.",
    ),
    Sysctl(
        key="fs.inotify.max_user_instances",
        values=_each(1024),
        rule=Rule.AT_LEAST,
        why="Each process that follows a run takes one to be woken by a commit; without it, it has "
        "to look again and again.",
    ),
    Sysctl(
        key="fs.inotify.max_user_watches",
        values=_each(524288),
        rule=Rule.AT_LEAST,
        why="Each folder that is followed takes one.",
    ),
)
"""Parameters of the kernel."""

GOVERNOR = Attribute(
    key="scaling_governor",
    pattern="sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    values=_each("performance", Role.ACQUISITION, Role.COMPUTE),
    why={
        Role.ACQUISITION: "Another governor lowers the clock between bursts and raises it after "
        "milliseconds, in which packets and frames wait.",
        Role.COMPUTE: "Another governor lowers the clock whenever a unit waits for data, and raises "
        "it milliseconds after they are there.",
    },
)
HUGE_PAGES = Attribute(
    key="enabled",
    pattern="sys/kernel/mm/transparent_hugepage/enabled",
    values=_each("madvise"),
    others=("always",),
    why={
        role: f"{who} for pages of 2 MiB; in pages of 4 KiB the processor spends its time on "
        "looking addresses up."
        for role, who in {
            Role.ACQUISITION: "The ring of frames asks",
            Role.COMPUTE: "Large arrays ask",
            Role.STORAGE: "Large arrays, into which blocks are read, ask",
        }.items()
    },
)
SHARED_HUGE_PAGES = Attribute(
    key="shmem_enabled",
    pattern="sys/kernel/mm/transparent_hugepage/shmem_enabled",
    values=_each("advise", Role.ACQUISITION),
    others=("always", "within_size", "force"),
    why="The same for a ring that another program writes into (a source 'shm:').",
)
HUGE_PAGE_EFFORT = Attribute(
    key="defrag",
    pattern="sys/kernel/mm/transparent_hugepage/defrag",
    values=_each("madvise"),
    others=("defer+madvise",),
    why="Only who asks for huge pages waits until there are some; with 'always' any program may "
    "stop for it at any moment, with 'never' or 'defer' who asks may get small pages.",
)
ATTRIBUTES = (GOVERNOR, HUGE_PAGES, SHARED_HUGE_PAGES, HUGE_PAGE_EFFORT)
"""Files below ``/sys`` that are no device's."""

DISK_ATTRIBUTES = (
    DiskAttribute(
        key="scheduler",
        kind=DiskKind.NVME,
        values=_each("none"),
        why="An NVMe disk orders requests itself; a scheduler before it costs a lock and "
        "processor time for each of them.",
    ),
    DiskAttribute(
        key="scheduler",
        kind=DiskKind.SSD,
        values=_each("mq-deadline"),
        others=("none",),
        why="It lets no request wait for long; bfq shares fairly and is slower.",
    ),
    DiskAttribute(
        key="scheduler",
        kind=DiskKind.ROTATING,
        values=_each("mq-deadline"),
        why="It sorts requests by place and lets none wait for long; bfq gives bandwidth away, "
        "'none' seeks.",
    ),
    DiskAttribute(
        key="read_ahead_kb",
        kind=DiskKind.NVME,
        values=_each(512, Role.COMPUTE, Role.STORAGE),
        rule=Rule.AT_LEAST,
        why="Blocks are read from front to back; the next pieces are fetched before they are "
        "asked for.",
    ),
    DiskAttribute(
        key="read_ahead_kb",
        kind=DiskKind.SSD,
        values=_each(512, Role.COMPUTE, Role.STORAGE),
        rule=Rule.AT_LEAST,
        why="Blocks are read from front to back; the next pieces are fetched before they are "
        "asked for.",
    ),
    DiskAttribute(
        key="read_ahead_kb",
        kind=DiskKind.ROTATING,
        values={Role.ACQUISITION: "1024", Role.COMPUTE: "4096", Role.STORAGE: "4096"},
        rule=Rule.AT_LEAST,
        why="Several readers share one arm: it has to read more at each place than it loses by "
        "getting there, about 10 ms or 2 MB.",
    ),
)
"""Queues of disks."""

OPEN_FILES = Limit(
    key="nofile",
    label="Max open files",
    systemd="LimitNOFILE",
    values=_each(65536),
    rule=Rule.AT_LEAST,
    why="Each connection and each shard that is open has one; the usual 1024 are used up by some "
    "hundred workers or readers.",
)
LOCKED_MEMORY = Limit(
    key="memlock",
    label="Max locked memory",
    systemd="LimitMEMLOCK",
    values=_each(UNLIMITED, Role.ACQUISITION, Role.COMPUTE),
    rule=Rule.AT_LEAST,
    why={
        Role.ACQUISITION: "A ring that stays in memory is locked, and so is memory that RDMA or a "
        "GPU reads by itself; more than this is refused.",
        Role.COMPUTE: "Memory that RDMA or a GPU reads by itself is locked; more than this is "
        "refused.",
    },
)
REALTIME = Limit(
    key="rtprio",
    label="Max realtime priority",
    systemd="LimitRTPRIO",
    values=_each(80, Role.ACQUISITION),
    rule=Rule.AT_LEAST,
    why="The setting acquisition.scheduling.realtime_priority needs it; else the recording runs at "
    "the ordinary priority.",
)
LIMITS = (OPEN_FILES, LOCKED_MEMORY, REALTIME)
"""Limits of processes."""

IOMMU = Argument(
    key="iommu",
    values=_each("pt", Role.ACQUISITION, Role.COMPUTE),
    why="Devices reach memory, and each other, without a translation for each request; with it "
    "GPUDirect is slow or refused, and each packet costs a mapping. Devices of guests stay behind "
    "it.",
)
ARGUMENTS = (IOMMU,)
"""The kernel's command line, as far as it does not hang on the machine's cores."""
