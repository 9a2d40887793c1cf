"""What a machine needs is written, applied and undone; nothing of it is lost by a kill."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.node.machines import SERVER, WORKSTATION, build

from forebay.cluster.node import Purpose, Role
from forebay.cluster.node.clock_state import ClockState
from forebay.cluster.node.doctor import examine
from forebay.cluster.node.errors import (
    NothingToUndoError,
    RecordError,
    TuningConflictError,
    TuningStorageError,
)
from forebay.cluster.node.machine import Machine, chosen
from forebay.cluster.node.tuning.apply import apply, undo, values_before
from forebay.cluster.node.tuning.files import plan_for
from forebay.cluster.node.tuning.folder import write_folder
from forebay.cluster.node.tuning.plan import Line, LiveValue, Plan, PlannedFile, readme
from forebay.cluster.node.tuning.record import FILE, FOLDER
from forebay.cluster.node.tuning.system import System
from forebay.cluster.node.verdict import Verdict
from forebay.cluster.node.wanted import SYSCTLS


def tree(root: Path) -> dict[str, str | bytes]:
    """Return every file and link below a root, as it is."""
    found: dict[str, str | bytes] = {}
    for folder, folders, names in os.walk(root):
        for name in [*names, *folders]:
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            if path.is_symlink():
                found[relative] = str(path.readlink())
            else:
                found[relative] = path.read_bytes() if path.is_file() else "folder"
    return found


def told(content: str | bytes) -> str:
    """Return what a file says; the kernel lists what may be chosen around it, a copy does not."""
    return chosen(content.decode()) if isinstance(content, bytes) else content


def planned(root: Path, role: Role, **more: Any) -> Plan:
    return plan_for(Machine(root), Purpose(role, **more), values_before(root))


def content(plan: Plan, name: str) -> str:
    (file,) = [each for each in plan.files if each.path.endswith(name)]
    return file.content


@pytest.mark.parametrize("role", Role)
def test_a_tuned_machine_is_found_to_be_tuned(tmp_path: Path, role: Role) -> None:
    """What is wished for and what is examined are one: applied, no such wish is left."""
    root = build(tmp_path, WORKSTATION)
    changes = apply(planned(root, role), root)
    assert changes.refused == ()
    findings = examine(
        Machine(root, clock=lambda: ClockState(synchronised=True, error_seconds=0)), Purpose(role)
    )
    tuned = ("kernel parameter", "socket buffers", "dirty data", "I/O", "read-ahead", "processor")
    checked = [
        each
        for each in findings
        if each.check.startswith((*tuned, "huge pages enabled", "huge pages defrag"))
    ]
    assert len(checked) > 15
    assert [each for each in checked if each.verdict is not Verdict.OK] == []


@pytest.mark.parametrize("role", Role)
def test_the_same_machine_gets_the_same_files(workstation: Path, role: Role) -> None:
    """Each line stands behind its reason, and no reason is missing."""
    one, other = planned(workstation, role), planned(workstation, role)
    assert {each.path: each.content for each in one.files} == {
        each.path: each.content for each in other.files
    }
    for file in one.files:
        assert all(line.why.endswith(".") for line in file.lines), file.path
        explained = readme(one)
        assert f"## /{file.path}\n" in explained
        assert all(line.text.replace("|", "\\|") in explained for line in file.lines)


def test_files_say_what_the_role_wants(workstation: Path) -> None:
    plan = planned(
        workstation, Role.ACQUISITION, cores=(2, 3), interfaces=("enp1s0f0",), group="beam"
    )
    assert "\nvm.dirty_bytes = 2147483648\n" in content(plan, "sysctl.d/90-forebay.conf")
    assert "\n@beam - memlock unlimited\n" in content(plan, "limits.d/90-forebay.conf")
    service = content(plan, "forebay.service.d/90-forebay.conf")
    assert "\n[Service]\n" in service
    assert "\nLimitMEMLOCK=infinity\n" in service
    assert "\nLimitRTPRIO=80\n" in service
    rules = content(plan, "90-forebay.rules")
    assert 'KERNEL=="nvme*n*", ATTR{queue/scheduler}="none"\n' in rules
    assert 'ATTR{address}=="3c:ec:ef:12:34:56", ATTR{mtu}="9000"\n' in rules
    words = content(plan, "90-forebay.cfg")
    for word in ("iommu=pt", "irqaffinity=0-1,4-7", "nohz_full=2-3", "rcu_nocbs=2-3"):
        assert f'\nGRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {word}"\n' in words
    assert "IRQBALANCE_BANNED_CPULIST=2-3\n" in content(
        plan, "irqbalance.service.d/90-forebay.conf"
    )


def test_a_machine_that_has_more_keeps_it(server: Path) -> None:
    """A file never takes away what is good; parameters of 0 that stand back are not taken."""
    plan = planned(server, Role.COMPUTE)
    text = content(plan, "sysctl.d/90-forebay.conf")
    assert "\nnet.core.rmem_max = 268435456\n" in text
    assert "\nnet.ipv4.tcp_rmem = 4096 131072 134217728\n" in text
    assert "\nvm.dirty_bytes = 2147483648\n" in text
    rules = content(plan, "90-forebay.rules")
    assert 'KERNEL=="nvme*n*", ATTR{queue/read_ahead_kb}="4096"\n' in rules
    assert content(plan, "modules-load.d/forebay.conf").endswith("\nnvidia_peermem\n")


def test_an_empty_root_gets_what_the_role_wants(tmp_path: Path) -> None:
    """As for an image: nothing can be set at once, and what cannot be made is told."""
    plan = planned(tmp_path, Role.ACQUISITION, cores=(2,), interfaces=("eth7",))
    assert plan.live == ()
    text = content(plan, "sysctl.d/90-forebay.conf")
    for wish in SYSCTLS:
        wanted = wish.wanted(Role.ACQUISITION)
        assert wanted is None or f"\n{wish.key} = {wanted}\n" in text
    assert plan.notes == (
        "packets of 9000 bytes for eth7: /sys/class/net/eth7/address is not there",
        "keeping interrupts from the cores 2: /sys/devices/system/cpu/online is not there",
    )


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="there is no systemd-tmpfiles")
def test_systemd_takes_the_values(tmp_path: Path) -> None:
    """The file for the governor and huge pages, by the program that reads it."""
    root = build(tmp_path, WORKSTATION)
    plan = planned(root, Role.ACQUISITION)
    (file,) = [each for each in plan.files if "tmpfiles.d" in each.path]
    System(root).put(file.path, file.content.encode())
    ended = subprocess.run(
        ["systemd-tmpfiles", "--create", f"--root={root}", root / file.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    governor = root / "sys/devices/system/cpu/cpu7/cpufreq/scaling_governor"
    assert governor.read_text().strip() == "performance"


def test_what_was_there_comes_back(tmp_path: Path) -> None:
    """Files that were replaced with their modes, values, and nothing that was not there."""
    root = build(tmp_path, WORKSTATION)
    earlier = root / "etc/sysctl.d/90-forebay.conf"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("vm.swappiness = 33\n")
    earlier.chmod(0o640)
    before = tree(root)
    changes = apply(planned(root, Role.ACQUISITION), root)
    assert "etc/sysctl.d/90-forebay.conf" in changes.files
    assert "proc/sys/vm/swappiness = 1" in changes.live
    assert earlier.read_text() != "vm.swappiness = 33\n"
    assert (root / FILE).stat().st_mode & 0o777 == 0o600
    back = undo(root)
    assert (back.left, back.refused) == ((), ())
    assert "proc/sys/vm/dirty_ratio = 20" in back.live
    after = tree(root)
    # Of two parameters that say the same, the kernel itself takes the other one back to 0.
    for key in ("dirty_bytes", "dirty_background_bytes"):
        after[f"proc/sys/vm/{key}"] = b"0\n"
    assert after.pop("var") == after.pop("var/lib") == "folder"
    assert {name: told(each) for name, each in after.items()} == {
        name: told(each) for name, each in before.items()
    }
    assert earlier.stat().st_mode & 0o777 == 0o640
    with pytest.raises(NothingToUndoError, match="nothing was applied below"):
        undo(root)


def test_another_role_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """What it does not want is as it was; undoing leads to the very beginning."""
    root = build(tmp_path, WORKSTATION)
    apply(planned(root, Role.ACQUISITION), root)
    backlog = root / "proc/sys/net/core/netdev_budget"
    assert backlog.read_text() == "600\n"
    plan = planned(root, Role.STORAGE)
    assert "\nvm.dirty_bytes = 8589934592\n" in content(plan, "sysctl.d/90-forebay.conf")
    apply(plan, root)
    assert backlog.read_text() == "300\n"
    assert not (root / "etc/default/grub.d/90-forebay.cfg").exists()
    undo(root)
    assert not list((root / "etc").rglob("*forebay*")) if (root / "etc").exists() else True
    assert (root / "proc/sys/vm/swappiness").read_text() == "60\n"


def test_applying_twice_changes_nothing_more(tmp_path: Path) -> None:
    root = build(tmp_path, SERVER)
    apply(planned(root, Role.COMPUTE), root)
    before = tree(root)
    assert apply(planned(root, Role.COMPUTE), root).live == ()
    assert tree(root) == before


def test_what_somebody_has_changed_since_is_left_alone(tmp_path: Path) -> None:
    """Their file stays, their value stays; when the file is gone the rest is undone."""
    root = build(tmp_path, WORKSTATION)
    apply(planned(root, Role.STORAGE), root)
    edited = root / "etc/udev/rules.d/90-forebay.rules"
    edited.write_text("# mine\n")
    (root / "proc/sys/vm/swappiness").write_text("5\n")
    changes = undo(root)
    (left,) = changes.left
    assert left == (
        "/etc/udev/rules.d/90-forebay.rules was changed since: compare it, remove it, and undo again"
    )
    assert edited.read_text() == "# mine\n"
    assert (root / "proc/sys/vm/swappiness").read_text() == "5\n"
    assert not (root / "etc/sysctl.d").exists()
    edited.unlink()
    assert undo(root).left == ()
    assert not (root / FILE).exists()


def test_links_that_lead_out_of_the_root_are_not_followed(tmp_path: Path) -> None:
    """An image's links may name places of this machine."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (root / "etc").symlink_to(outside)
    with pytest.raises(TuningConflictError, match=r"lies outside of .*/root, by a link"):
        apply(planned(root, Role.STORAGE), root)
    assert list(outside.iterdir()) == []
    (root / "etc").unlink()
    (root / "etc/sysctl.d").mkdir(parents=True)
    (root / "etc/sysctl.d/90-forebay.conf").symlink_to("other.conf")
    with pytest.raises(TuningConflictError, match=r"90-forebay\.conf is no file of its own"):
        apply(planned(root, Role.STORAGE), root)


def test_only_one_is_at_work(tmp_path: Path) -> None:
    system = System(tmp_path)
    system.make_folders(FILE)
    with (
        system.locked(FOLDER),
        pytest.raises(TuningConflictError, match="another 'forebay tune' is at work"),
    ):
        apply(planned(tmp_path, Role.STORAGE), tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 2}', "\x00"])
def test_a_record_that_makes_no_sense_changes_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    path.write_text(text)
    before = tree(tmp_path)
    for change in (undo, lambda root: apply(Plan(Role.STORAGE, (), ()), root), values_before):
        with pytest.raises(RecordError, match=r"tune/record\.json cannot be read"):
            change(tmp_path)
    assert tree(tmp_path) == before


def test_a_value_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    """The others are set, and the file that makes it last is there."""
    root = build(tmp_path, {"proc/sys/vm/swappiness": "60\n"})
    folder = root / "proc/sys/vm/dirty_bytes"
    folder.mkdir()
    live = (LiveValue("proc/sys/vm/dirty_bytes", "1"), LiveValue("proc/sys/vm/swappiness", "1"))
    changes = apply(Plan(Role.STORAGE, (), live), root)
    assert changes.refused == ("/proc/sys/vm/dirty_bytes does not take '1': Is a directory",)
    assert changes.live == ("proc/sys/vm/swappiness = 1",)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("no folder")
    with pytest.raises(TuningStorageError, match=r"/etc.* cannot be changed: "):
        apply(planned(tmp_path, Role.STORAGE), tmp_path)


def test_a_folder_is_written_as_a_whole(workstation: Path, tmp_path: Path) -> None:
    plan = planned(workstation, Role.COMPUTE)
    write_folder(plan, tmp_path / "one")
    write_folder(plan, tmp_path / "two")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert (tmp_path / "one/etc/sysctl.d/90-forebay.conf").read_text() == content(
        plan, "sysctl.d/90-forebay.conf"
    )
    with pytest.raises(TuningConflictError, match="one exists already: name another folder"):
        write_folder(plan, tmp_path / "one")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]


class KilledError(BaseException):
    """The process is gone: nothing after this happens."""


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Let the n-th call that changes a file be the last thing that happens; None for all."""
    left: list[int | None] = [None]

    def limited(call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*words: Any, **options: Any) -> Any:
            if left[0] is not None:
                if left[0] <= 0:
                    raise KilledError
                left[0] -= 1
            return call(*words, **options)

        return made

    for name in ("open", "write", "replace", "unlink", "mkdir", "rmdir", "fsync", "fchmod"):
        monkeypatch.setattr(os, name, limited(getattr(os, name)))

    def arm(count: int | None) -> None:
        left[0] = count

    return arm


def _file(name: str, text: str) -> PlannedFile:
    return PlannedFile(f"etc/{name}", "For a test.", (Line(text, "It has to be."),), "", "")


def kills(arm: Callable[[int | None], None], call: Callable[[], object]) -> Iterator[bool]:
    """Call again and again, killed one step later each time, and at last not at all."""
    for count in itertools.count():
        arm(count)
        try:
            call()
        except KilledError:
            arm(None)
            yield True
        else:
            arm(None)
            yield False
            return


def test_a_kill_at_any_point_is_mended_by_undoing_or_by_applying_again(
    tmp_path: Path, killed_at: Callable[[int | None], None]
) -> None:
    """First of a plan, then of another one in its place, then of undoing."""
    root = build(
        tmp_path / "root", {"etc/old.conf": "old\n", "proc/sys/vm/a": "1\n", "proc/sys/vm/b": "2\n"}
    )
    first = Plan(
        Role.STORAGE,
        (_file("old.conf", "new"), _file("made/x.conf", "x")),
        (LiveValue("proc/sys/vm/a", "10"),),
    )
    second = Plan(Role.COMPUTE, (_file("old.conf", "newer"),), (LiveValue("proc/sys/vm/b", "20"),))
    # Where the record lies stays.
    (root / "var/lib").mkdir(parents=True)
    beginning = tree(root)
    points = 0
    for _ in kills(killed_at, lambda: apply(first, root)):
        points += 1
        if (root / FILE).exists():
            undo(root)
        shutil.rmtree(root / "var/lib/forebay", ignore_errors=True)
        assert tree(root) == beginning, points
    assert points > 20
    apply(first, root)
    for killed in kills(killed_at, lambda: apply(second, root)):
        points += 1
        if not killed:
            break
        undo(root)
        assert tree(root) == beginning, points
        apply(first, root)
    assert (root / "proc/sys/vm/a").read_text() == "1\n"
    assert not (root / "etc/made").exists() or not list((root / "etc/made").iterdir())
    for killed in kills(killed_at, lambda: undo(root)):
        points += 1
        if killed:
            if (root / FILE).exists():
                undo(root)
            shutil.rmtree(root / "var/lib/forebay", ignore_errors=True)
            assert tree(root) == beginning, points
            apply(second, root)
    assert points > 60
    shutil.rmtree(root / "var/lib/forebay", ignore_errors=True)
    assert tree(root) == beginning
