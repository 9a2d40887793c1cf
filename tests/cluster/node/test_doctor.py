"""Machines are judged by what their files say, for what they are to do."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cluster.node.machines import SERVER, WORKSTATION, build, everything, numbered

from forebay.cluster.node import Purpose, Role
from forebay.cluster.node.clock_state import ClockState
from forebay.cluster.node.doctor import CHECKS, count, examine
from forebay.cluster.node.errors import RootError, UnreadableError
from forebay.cluster.node.machine import Answer, Machine
from forebay.cluster.node.purpose import reason_for
from forebay.cluster.node.tuning.files import plan_for
from forebay.cluster.node.verdict import Finding, Verdict

GOOD_CLOCK = ClockState(synchronised=True, error_seconds=0.0004)
OK, BETTER, WRONG, UNKNOWN = Verdict


def look(
    root: Path,
    role: Role,
    *,
    clock: ClockState = GOOD_CLOCK,
    interfaces: tuple[str, ...] = (),
    cores: tuple[int, ...] = (),
    smi: str = "",
) -> dict[tuple[str, str], Finding]:
    def run(words: Sequence[str], seconds: float) -> Answer:
        if not smi:
            raise UnreadableError(f"the program {words[0]} is not there")
        return Answer(0, smi, "")

    machine = Machine(root, clock=lambda: clock, run=run)
    purpose = Purpose(role, interfaces=interfaces, cores=cores)
    findings = list(examine(machine, purpose))
    found = {(each.check, each.subject): each for each in findings}
    assert len(found) == len(findings), "each is told once"
    return found


def not_ok(found: dict[tuple[str, str], Finding]) -> dict[tuple[str, str], Verdict]:
    return {key: each.verdict for key, each in found.items() if each.verdict is not OK}


@pytest.mark.parametrize("role", Role)
def test_a_machine_that_is_as_it_should_be_has_little_to_mend(server: Path, role: Role) -> None:
    """Only where the second GPU sits, and for a recording that no cores are chosen."""
    far = "GPU 0000:b1:00.0 to the nearest"
    expected = {("GPU layout", f"{far} {kind}"): BETTER for kind in ("NVMe disk", "network card")}
    if role is Role.ACQUISITION:
        expected["camera layout", "ens1np0 to the recording"] = BETTER
    found = look(server, role)
    if role is Role.STORAGE:
        # What has a GPU for nothing has nothing to mend there.
        assert not_ok(found) == {}
        assert not [each for each in found if each[0].startswith("GPU")]
        return
    assert not_ok(found) == expected
    near = found["GPU layout", "GPU 0000:34:00.0 to the nearest network card"]
    assert near.found == "0000:33:00.0, the same PCIe switch (PIX, PXB)"
    disk = found["GPU layout", "GPU 0000:34:00.0 to the nearest NVMe disk"]
    assert disk.found == "0000:36:00.0, the same host bridge (PHB)"


def test_cores_beside_the_card_are_what_a_recording_needs(server: Path) -> None:
    """Those of the other socket are not, and neither are those that take the interrupts."""
    layout = ("camera layout", "ens1np0 to the recording")
    assert look(server, Role.ACQUISITION, cores=(6, 7))[layout].verdict is OK
    far = look(server, Role.ACQUISITION, cores=(8, 9))[layout]
    assert (far.verdict, far.mend) == (BETTER, "choose acquisition.scheduling.cores among 0-7")
    shared = look(server, Role.ACQUISITION, cores=(3, 4))["interrupts", "ens1np0"]
    assert (shared.verdict, shared.wanted) == (WRONG, "other cores than 3-4")


def test_a_machine_as_it_was_unpacked_loses_frames(workstation: Path) -> None:
    """Everything that nobody has tuned is named, and what will fail is told from what is slow."""
    clock = ClockState(synchronised=False, error_seconds=16.0)
    found = look(workstation, Role.ACQUISITION, clock=clock)
    verdicts = not_ok(found)
    assert {key for key, verdict in verdicts.items() if verdict is WRONG} == {
        ("interrupts", "enp1s0f0"),
        ("PCI Express link", "network card 0000:01:00.0"),
        ("dirty data vm.dirty_bytes", ""),
        ("socket buffers net.core.rmem_max", ""),
        ("clock", ""),
        ("GPU driver", "0000:04:00.0"),
    }
    assert {key for key, verdict in verdicts.items() if verdict is UNKNOWN} == {
        ("PCI Express link", "GPU 0000:04:00.0"),
        ("GPU persistence", ""),
    }
    assert {key for key, verdict in verdicts.items() if verdict is BETTER} == {
        ("processor governor", "cores 0-7"),
        ("PCI Express link", "NVMe disk 0000:02:00.0"),
        ("huge pages shmem_enabled", ""),
        ("huge pages defrag", ""),
        ("huge pages reserved", "hugepages-2048kB"),
        ("dirty data vm.dirty_background_bytes", ""),
        ("kernel parameter vm.swappiness", ""),
        ("kernel parameter vm.min_free_kbytes", ""),
        ("kernel parameter fs.inotify.max_user_instances", ""),
        ("socket buffers net.core.wmem_max", ""),
        ("socket buffers net.ipv4.tcp_rmem", ""),
        ("socket buffers net.ipv4.tcp_wmem", ""),
        ("socket buffers net.core.netdev_max_backlog", ""),
        ("socket buffers net.core.netdev_budget", ""),
        ("I/O scheduler", "nvme0n1"),
        ("I/O scheduler", "sda"),
        ("read-ahead", "sda"),
        ("limit of open files", ""),
        ("limit of locked memory", ""),
        ("limit of real-time priority", ""),
        ("packet size", "enp1s0f0"),
        ("clock source", ""),
        ("GPU window", "0000:04:00.0"),
        ("IOMMU", "GPU 0000:04:00.0"),
        ("IOMMU", "network card 0000:01:00.0"),
        ("IOMMU", "NVMe disk 0000:02:00.0"),
    }


@pytest.mark.parametrize(
    ("check", "subject", "found"),
    [
        ("processor governor", "cores 0-7", "powersave on 8 of 8 cores"),
        ("PCI Express link", "network card 0000:01:00.0", "×4 at 8 GT/s"),
        ("dirty data vm.dirty_bytes", "", "20 % of the memory, 12.8 GiB now"),
        ("interrupts", "enp1s0f0", "4 of 5 interrupts come, on cores 0"),
        ("huge pages reserved", "hugepages-2048kB", "8192 pages reserved, 16.0 GiB of them unused"),
        ("I/O scheduler", "sda", "bfq (rotating)"),
        ("limit of open files", "", "1024, may be raised to 1048576"),
        ("packet size", "enp1s0f0", "1500 bytes at 10 Gbit/s"),
        ("GPU driver", "0000:04:00.0", "nouveau has it"),
        ("GPU window", "0000:04:00.0", "256 MiB"),
        ("IOMMU", "GPU 0000:04:00.0", "DMA-FQ (group 14)"),
        ("real-time share", "", "95% of the time"),
    ],
)
def test_what_was_found_is_told(workstation: Path, check: str, subject: str, found: str) -> None:
    assert look(workstation, Role.ACQUISITION)[check, subject].found == found


def test_roles_want_different_things(workstation: Path) -> None:
    """A storage server may save power; its disks read far ahead."""
    storage = look(workstation, Role.STORAGE)
    assert not [each for each in storage if each[0] == "processor governor"]
    assert storage["read-ahead", "nvme0n1"].verdict is BETTER
    assert storage["read-ahead", "sda"].wanted == "at least 4096"
    assert not {"camera layout", "limit of real-time priority", "GPUDirect Storage"} & {
        check for check, _ in storage
    }
    compute = look(workstation, Role.COMPUTE)
    assert compute["GPUDirect Storage", ""].verdict is BETTER
    assert compute["clock", ""].verdict is OK


@pytest.mark.parametrize("role", [Role.COMPUTE, Role.STORAGE])
def test_reasons_fit_the_role(workstation: Path, role: Role) -> None:
    """Nobody is told of a camera that his machine has not; nor, for storage, of units."""
    plan = plan_for(Machine(workstation), Purpose(role, cores=(1,)))
    lines = [line.why for file in plan.files for line in file.lines]
    findings = look(workstation, role, cores=(1,)).values()
    words = [*lines, *(word for each in findings for word in (each.found, each.why, each.mend))]
    strange = r"camera|recording|\bring\b|frame" + (r"|\bunits?\b" if role is Role.STORAGE else "")
    assert [each for each in words if re.search(strange, each)] == []


def test_a_guest_is_not_blamed_for_what_its_host_decides(guest: Path) -> None:
    """What it does not show cannot be told, with the reason."""
    found = look(guest, Role.ACQUISITION)
    unknown = {check: each.found for (check, _), each in found.items() if each.verdict is UNKNOWN}
    assert unknown == {
        "processor governor": "no core has a governor here: the firmware or the host of this guest "
        "sets the clock",
        "interrupts": "the card does not name its interrupts, as in a guest",
    }
    assert found["I/O scheduler", "vda"].found == "a guest's disk: its host decides"
    assert found["kernel parameter kernel.numa_balancing", ""].verdict is OK


def test_interfaces_that_are_named_are_looked_at_alone(workstation: Path) -> None:
    """One that is not there is wrong, whatever the others are like."""
    found = look(workstation, Role.ACQUISITION, interfaces=("enp9s0",))
    missing = found["packet size", "enp9s0"]
    assert missing.verdict is WRONG
    assert missing.mend == "name another one in node.interfaces; there are enp1s0f0"
    assert ("packet size", "enp1s0f0") not in found


@pytest.mark.parametrize(
    ("changed", "check", "subject", "verdict", "told"),
    [
        ({"proc/modules": ""}, "GPUDirect Storage", "", BETTER, "nvidia_fs is not loaded"),
        ({"proc/modules": ""}, "GPUDirect RDMA", "", OK, "the open driver hands memory out"),
        (
            {
                "proc/modules": "",
                "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  "
                "515.65.01  Wed Jul 20 14:00:58 UTC 2022\n",
            },
            "GPUDirect RDMA",
            "",
            BETTER,
            "nvidia_peermem is not loaded",
        ),
        (
            {
                "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  "
                "515.65.01  Wed Jul 20 14:00:58 UTC 2022\n"
            },
            "GPU driver",
            "0000:34:00.0",
            WRONG,
            "nvidia 515.65.1",
        ),
        (
            {"sys/class/infiniband/mlx5_0/ports/1/state": "1: DOWN\n"},
            "RDMA",
            "mlx5_0 port 1",
            BETTER,
            "DOWN, Ethernet, 200 Gb/sec (4X HDR)",
        ),
        (
            {"sys/devices/system/node/node1/meminfo": "Node 1 MemTotal:       0 kB\n"},
            "NUMA nodes",
            "",
            WRONG,
            "node 0: cores 0-7; node 1: cores 8-15; no memory on node 1",
        ),
        (
            {f"sys/devices/{'pci0000:b0/0000:b0:01.0/0000:b1:00.0'}/numa_node": "-1\n"},
            "GPU layout",
            "GPU 0000:b1:00.0",
            UNKNOWN,
            "the firmware does not say on which NUMA node it is",
        ),
        (
            {"proc/sys/kernel/sched_rt_runtime_us": "-1\n"},
            "real-time share",
            "",
            BETTER,
            "all of the time",
        ),
        (
            {"proc/sys/kernel/sched_rt_runtime_us": "50000\n"},
            "real-time share",
            "",
            WRONG,
            "5% of the time",
        ),
        ({"sys/class/net/ens1np0/operstate": "down\n"}, "packet size", "ens1np0", OK, "not in use"),
        (
            {f"proc/irq/{200 + n}/effective_affinity_list": "9,12\n" for n in range(4)},
            "interrupts",
            "ens1np0",
            BETTER,
            "9,12 are on another NUMA node",
        ),
    ],
)
def test_one_thing_that_is_not_right_is_found(
    tmp_path: Path, changed: dict[str, str], check: str, subject: str, verdict: Verdict, told: str
) -> None:
    root = build(tmp_path, SERVER | changed)
    roles = next(each.roles for each in CHECKS if each.name == check)
    role = Role.ACQUISITION if Role.ACQUISITION in roles else Role.COMPUTE
    found = look(root, role)[check, subject]
    assert (found.verdict, told in found.found) == (verdict, True), found


def test_persistence_is_asked_for_where_no_service_keeps_it(tmp_path: Path) -> None:
    files = {name: text for name, text in SERVER.items() if "persistenced" not in name}
    smi = "00000000:34:00.0, Enabled\n00000000:B1:00.0, Disabled\n"
    found = look(build(tmp_path, files), Role.COMPUTE, smi=smi)
    assert found["GPU persistence", "GPU 00000000:34:00.0"].verdict is OK
    assert found["GPU persistence", "GPU 00000000:B1:00.0"].verdict is BETTER


def test_programs_and_clock_of_this_machine_tell_nothing_of_another_one(server: Path) -> None:
    findings = examine(Machine(server), Purpose(Role.STORAGE))
    clock = next(each for each in findings if each.check == "clock")
    assert clock.verdict is UNKNOWN
    assert clock.found == f"the clock is this machine's, not of the one below {server}"
    with pytest.raises(UnreadableError, match="nvidia-smi would tell of this machine"):
        Machine(server).run(["nvidia-smi"])


def test_a_root_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(RootError, match=r"there is no folder .*/none to take for the root"):
        Machine(tmp_path / "none")


def test_a_program_is_run_with_a_limit_in_time() -> None:
    machine = Machine()
    assert machine.run(["echo", "PING"]) == Answer(0, "PING\n", "")
    with pytest.raises(UnreadableError, match="the program forebay-nothing is not there"):
        machine.run(["forebay-nothing"])
    with pytest.raises(UnreadableError, match=r"tail -f /dev/null says nothing for 0\.05 s"):
        machine.run(["tail", "-f", "/dev/null"], seconds=0.05)


def test_every_check_says_what_it_reads_why_and_what_to_do() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.reads, check.name
        for role in check.roles:
            assert reason_for(role, check.why).endswith("."), check.name
        assert check.mend, check.name
        assert check.roles, check.name


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    root = build(tmp_path_factory.mktemp("spoilt"), SERVER)
    return root, everything(root)


@given(choice=st.integers(0, 10**6), content=st.binary(max_size=80) | st.just(b"9" * 40))
def test_a_file_of_any_content_is_no_error(
    spoilt: tuple[Path, list[str]], choice: int, content: bytes
) -> None:
    """What makes no sense is told as such."""
    root, files = spoilt
    name = files[choice % len(files)]
    path = root / name
    before = path.read_bytes()
    machine = Machine(root, clock=lambda: GOOD_CLOCK)
    try:
        path.write_bytes(content)
        findings = list(examine(machine, Purpose(Role.ACQUISITION)))
    finally:
        path.write_bytes(before)
    assert sum(count(findings).values()) == len(findings)
    if numbered(name) and not content.strip().lstrip(b"-").isdigit():
        assert not any(each.verdict is OK and each.reads == (name,) for each in findings), (
            "nothing is well that cannot be read"
        )


@pytest.mark.parametrize("missing", ["proc/meminfo", "proc/interrupts", "proc/self/limits"])
def test_a_file_that_is_a_folder_cannot_be_read(tmp_path: Path, missing: str) -> None:
    files = {name: text for name, text in WORKSTATION.items() if name != missing}
    root = build(tmp_path, files)
    (root / missing).mkdir(parents=True)
    found = look(root, Role.ACQUISITION)
    assert f"/{missing}: Is a directory" in {
        each.found for each in found.values() if each.verdict is UNKNOWN
    }
