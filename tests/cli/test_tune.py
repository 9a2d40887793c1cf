"""Tuning a machine on the command line."""

from pathlib import Path

import pytest
from tests.cli.conftest import Forebay
from tests.cluster.node.machines import WORKSTATION, build

from forebay import ExitCode


def test_files_are_written_applied_and_undone(forebay: Forebay, tmp_path: Path) -> None:
    """Nothing of the machine is touched without --apply."""
    root = build(tmp_path / "root", WORKSTATION)
    swappiness = root / "proc/sys/vm/swappiness"
    told = forebay("tune", "--role", "acquisition", "--root", root)
    assert told.code == ExitCode.DONE, told.err
    assert "tune-acquisition holds them" in told.out
    assert (tmp_path / "tune-acquisition/README.md").read_text().startswith("# A machine for acqu")
    assert (tmp_path / "tune-acquisition/etc/sysctl.d/90-forebay.conf").is_file()
    assert not (root / "etc").exists()
    again = forebay("tune", "--role", "acquisition", "--root", root)
    assert again.code == ExitCode.CONFLICT
    assert "tune-acquisition exists already" in again.error
    files = forebay("tune", "--role", "acquisition", "--root", root, "--to", "other", "--json").json
    assert {each["path"] for each in files} >= {"etc/sysctl.d/90-forebay.conf"}
    applied = forebay("tune", "--role", "acquisition", "--root", root, "--apply")
    assert applied.code == ExitCode.DONE, applied.err
    assert "set at once: /proc/sys/vm/swappiness = 1\n" in applied.out
    assert f"undo it with 'forebay tune --root {root} --undo'" in applied.out
    assert swappiness.read_text() == "1\n"
    undone = forebay("tune", "--undo", "--root", root)
    assert undone.code == ExitCode.DONE, undone.err
    assert "/etc/sysctl.d/90-forebay.conf is as it was\n" in undone.out
    assert swappiness.read_text() == "60\n"
    assert not (root / "etc").exists()


def test_what_is_not_done_has_a_code_of_its_own(forebay: Forebay, tmp_path: Path) -> None:
    files = {name: text for name, text in WORKSTATION.items() if "swappiness" not in name}
    root = build(tmp_path / "root", files)
    (root / "proc/sys/vm/swappiness").mkdir()
    applied = forebay("tune", "--role", "storage", "--root", root, "--apply", "--json")
    assert applied.code == ExitCode.INCOMPLETE
    (changes,) = applied.json
    assert changes["refused"] == ["/proc/sys/vm/swappiness does not take '10': Is a directory"]
    (root / "etc/sysctl.d/90-forebay.conf").write_text("mine\n")
    undone = forebay("tune", "--undo", "--root", root)
    assert undone.code == ExitCode.CONFLICT
    assert "not done: /etc/sysctl.d/90-forebay.conf was changed since" in undone.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), ExitCode.USAGE, "say what the machine is for"),
        (("--undo", "--apply"), ExitCode.USAGE, "--undo goes alone, or with --root"),
        (("--role", "compute", "--apply", "--to", "x"), ExitCode.USAGE, "leave --to out"),
        (("--undo", "--root", "."), ExitCode.INPUT, "nothing was applied below"),
        (("--role", "compute", "--root", "none"), ExitCode.INPUT, "there is no folder none"),
    ],
)
def test_mistakes_are_told(
    forebay: Forebay, words: tuple[str, ...], code: ExitCode, message: str
) -> None:
    refused = forebay("tune", *words)
    assert refused.code == code
    assert message in refused.error
