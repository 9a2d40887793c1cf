"""``forebay tier`` and ``forebay scrub``, and how they tell of what cannot be done."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tiering.test_results import LISTED
from typer.testing import CliRunner

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.cli.app import app
from forebay.engine import Result, open_result, process
from forebay.engine.queue.database import Database
from forebay.opening import open_run
from forebay.tiering import read_through
from forebay.tiering.catalogue.catalogue import Catalogue
from forebay.tiering.catalogue.held import HeldMoves
from forebay.tiering.catalogue.moves import Moves

CONFIGURATION = """
runs = "runs"
[tiers.hot]
url = "runs"
[tiers.cold]
url = "cold"
[tiering]
grace_seconds = 0
[[tiering.policies]]
name = "everything"
from = "hot"
to = "cold"
runs = "a*"
"""


def write(path: Path, *, close: bool = True) -> None:
    geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    writer = RunWriter.create(path, geometry, frames_per_block=2)
    for counter in range(3):
        writer.append(Frame(counter, counter, np.full((4, 6), counter, "uint16")))
    if close:
        writer.close()
    else:
        writer.abandon()


@pytest.fixture
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, two tiers, and two runs."""
    (tmp_path / "forebay.toml").write_text(CONFIGURATION)
    (tmp_path / "cold").mkdir()
    (tmp_path / "runs").mkdir()
    for name in ("apple", "berry"):
        write(tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(*words: str, code: int = 0) -> str:
    """Return what a command says, which must end with a code."""
    ended = CliRunner().invoke(app, list(words))
    assert ended.exit_code == code, ended.output
    assert "Traceback" not in ended.output
    if code:
        assert ended.stderr.splitlines()[-1].startswith("forebay: error: ")
    return ended.output


def objects(*words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told(*words, "--json").splitlines()]


def test_from_the_first_look_to_the_last(laboratory: Path) -> None:
    """List, check, plan, apply, read, hold, and bring back."""
    assert [each["tier"] for each in objects("tier", "list")] == ["hot", "cold"]
    assert [each["problem"] for each in objects("tier", "check")] == [None, None]
    (suggested,) = objects("tier", "plan")
    assert (suggested["run"], suggested["policy"]) == ("apple", "everything")
    assert (laboratory / "runs" / "apple" / "zarr.json").exists()
    (moved,) = objects("tier", "apply")
    assert (moved["run"], moved["to"], moved["state"]) == ("apple", "cold", "done")
    assert not (laboratory / "runs" / "apple" / "zarr.json").exists()
    assert objects("tier", "plan") == []
    lies = {each["run"]: each["tiers"] for each in objects("tier", "status") if "tiers" in each}
    assert lies == {"apple": ["cold"], "berry": ["hot"]}
    assert "all as committed" in told("runs", "verify", "apple")
    assert "apple" in told("runs", "list")
    assert "2 copies" in told("scrub")
    told("tier", "hold", "apple", "--reason", "audit")
    assert "has put a hold on it (audit)" in told("tier", "move", "apple", "--to", "hot", code=4)
    assert "hold: apple, " in told("tier", "status", "apple")
    told("tier", "release", "apple")
    told("tier", "move", "apple", "--to", "hot")
    assert "all as committed" in told("runs", "verify", "apple")
    assert "says what lies in the tiers" in told("tier", "scan")


AHEAD = """
runs = "runs"
[tiers.hot]
url = "runs"
capacity = "CAPACITY B"
[tiers.cold]
url = "cold"
[tiering]
grace_seconds = 0
recording_bandwidth = "20 B"
newest_blocks = 2
volume_bytes = "350 B"
[[tiering.policies]]
name = "room"
from = "hot"
to = "cold"
when = "full"
"""


def test_a_run_that_is_still_recorded_is_planned_and_moved(laboratory: Path) -> None:
    """Before the tier is full, as a service does it; it is read, resumed, closed and moved on."""
    stream = laboratory / "runs" / "stream"
    geometry = Geometry(("y", "x"), (4, 6), np.dtype("uint16"))
    writer = RunWriter.create(stream, geometry, frames_per_block=2)
    for counter in range(20):
        writer.append(Frame(counter, counter, np.full((4, 6), counter, "uint16")))
    there = sum(path.stat().st_size for path in (laboratory / "runs").rglob("*") if path.is_file())
    (laboratory / "forebay.toml").write_text(AHEAD.replace("CAPACITY", str(20 * there)))
    shards = sorted((stream / "frames").glob("c.*"), key=lambda each: int(each.name.split(".")[1]))
    for silent, wanted in ((3600.0, []), (0.0, ["stream (blocks 0 to 1)", "apple"])):
        for second, shard in enumerate(reversed(shards)):
            at = time.time() - silent - second
            os.utime(shard, (at, at))
        planned = [each["run"] for each in objects("tier", "plan")]
        assert planned[:1] == wanted[:1]
        assert set(wanted) <= set(planned)
    moved = {each["run"]: each["state"] for each in objects("tier", "apply")}
    assert moved["stream (blocks 0 to 1)"] == "done"
    assert [shard.stat().st_size > 0 for shard in shards] == [False] * 8 + [True] * 2
    assert "the run is not closed yet" in told("runs", "verify", "stream")
    lies = {
        each["run"]: each["tiers"] for each in objects("tier", "status", "stream") if "run" in each
    }
    assert lies["stream (blocks 6 to 7)"] == ["cold"]
    rows = [line for line in told("tier", "status").splitlines() if "stream" in line]
    assert [row.split()[:3] + row.split()[-1:] for row in rows] == [
        ["stream", "(4", "volumes)", "cold"]
    ]
    told("tier", "hold", "stream", "--reason", "audit")
    assert "has put a hold" in told("tier", "move", "stream", "--to", "hot", code=4)
    told("tier", "release", "stream")
    writer.abandon()
    told("runs", "close", "stream")
    assert "all as committed" in told("runs", "verify", "stream")
    refused = told("runs", "repair", "stream", code=2)
    assert "lies in other tiers too: move it back first" in refused
    told("tier", "move", "stream", "--to", "hot")
    assert all(shard.stat().st_size for shard in shards)
    assert "all as committed" in told("runs", "verify", "stream")
    assert "says what lies in the tiers" in told("tier", "scan")
    assert "20" in told("runs", "show", "stream")


def test_the_status_counts_what_the_catalogue_knows_and_says_what_it_does_not(
    laboratory: Path,
) -> None:
    """Nothing is shown as empty that was not looked at yet."""
    said = told("tier", "status")
    assert "hot: 2 closed runs are not in the catalogue, and not counted here" in said
    hot, cold = [each for each in objects("tier", "status") if "capacity" in each]
    assert (hot["bytes"], hot["unknown_runs"], cold["unknown_runs"]) == (0, 2, 0)
    told("tier", "plan")
    assert "not in the catalogue" not in told("tier", "status")
    hot, _ = [each for each in objects("tier", "status") if "capacity" in each]
    assert (hot["bytes"] > 0, hot["unknown_runs"]) == (True, 0)


def publish(laboratory: Path) -> tuple[Result, str]:
    """Publish something of a run; return it, and the name that commands know it by."""
    result = process(open_run(laboratory / "runs" / "apple"), LISTED)
    return result, f"apple/{result.path.name}"


def test_results_by_their_names(laboratory: Path) -> None:
    """Planned by a policy of their own, moved, looked at, kept, scrubbed and brought back."""
    result, name = publish(laboratory)
    assert f"not in the catalogue: {result.path}" in told("tier", "scan")
    configured = CONFIGURATION.replace('runs = "a*"', 'runs = "apple"\ndata = "result"')
    (laboratory / "forebay.toml").write_text(configured)
    assert [each["run"] for each in objects("tier", "plan")] == [name]
    (moved,) = objects("tier", "apply")
    assert (moved["run"], moved["state"]) == (name, "done")
    assert list((result.path / "parts").iterdir()) == []
    assert "3 of 3 frames" in (shown := told("runs", "show", "apple"))
    assert str(result.path) in shown
    assert len(open_result(result.path).table()) == 3
    (lies,) = [each for each in objects("tier", "status", name) if "tiers" in each]
    assert (lies["kind"], lies["tiers"]) == ("result", ["cold"])
    assert "1 copies" in told("scrub", name)
    told("tier", "hold", name, "--reason", "audit")
    assert "has put a hold on it" in told("tier", "move", name, "--to", "hot", code=4)
    told("tier", "release", str(result.path))
    told("tier", "move", str(result.path), "--to", "hot")
    assert "lies in 'hot' already" in told("tier", "move", name, "--to", "hot", code=4)
    assert "says what lies in the tiers" in told("tier", "scan")


def test_lost_results_are_built_anew(laboratory: Path) -> None:
    """With what the ledger knew of them, by the same command as runs."""
    result, name = publish(laboratory)
    told("tier", "move", name, "--to", "cold")
    shutil.rmtree(laboratory / "runs" / "results")
    assert "entered in the ledger" in told("tier", "scan", "--repair")
    assert len(open_result(result.path).table()) == 3


def test_a_pinned_run_is_passed_over_by_policies(laboratory: Path) -> None:
    """Until the pin is ended."""
    told("tier", "pin", "apple", "--tier", "hot", "--days", "3")
    assert objects("tier", "plan") == []
    assert "pins of apple that are ended: 1" in told("tier", "unpin", "apple")
    assert len(objects("tier", "plan")) == 1


def test_what_protects_a_run_is_told_to_machines(laboratory: Path) -> None:
    """Each of them by one object."""
    pinned = {"run": "apple", "pinned": "hot", "reason": "", "seconds": 259200.0}
    assert objects("tier", "pin", "apple", "--tier", "hot", "--days", "3") == [pinned]
    assert objects("tier", "unpin", "apple") == [{"run": "apple", "kind": "pin", "ended": 1}]
    held = {"run": "apple", "held": True, "reason": "audit"}
    assert objects("tier", "hold", "apple", "--reason", "audit") == [held]
    assert objects("tier", "release", "apple") == [{"run": "apple", "kind": "hold", "ended": 1}]
    with Database(laboratory / "runs" / "results" / "ledger.sqlite") as database:
        run = next(each for each in Catalogue(database).runs() if each.name == "apple")
        move = Moves(database).plan(run, tier="cold", keep=False, why="a test").move
    assert objects("tier", "cancel", str(move)) == [{"move": move, "state": "cancelled"}]


def test_a_lost_ledger_is_built_anew(laboratory: Path) -> None:
    """By one command."""
    told("tier", "apply")
    for path in (laboratory / "runs" / "results").glob("ledger.sqlite*"):
        path.unlink()
    assert "not in the catalogue" in told("tier", "scan")
    assert "its pins and holds went with it" in told("tier", "scan", "--repair")
    assert "pins" not in told("tier", "scan", "--repair")
    assert "all as committed" in told("runs", "verify", "apple")
    assert "cold" in told("tier", "status", "apple")


def test_damage_is_put_right_or_told(laboratory: Path) -> None:
    """With the frames that are lost, and code 5."""
    told("tier", "move", "apple", "--to", "cold", "--keep")
    (copy,) = (laboratory / "cold").glob(".forebay/*/*/frames/c.0.0.0")
    right = copy.read_bytes()
    copy.write_bytes(b"wrong")
    assert "put right: " in told("scrub", "apple", "--rate", "1 GB")
    assert copy.read_bytes() == right
    told("tier", "move", "apple", "--to", "cold")
    copy.write_bytes(b"wrong")
    assert "(frames 0 to 1 at the most)" in told("scrub", "apple", code=5)
    copy.unlink()
    assert "not whole: " in told("tier", "scan", code=7)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("tier", "move", "apple", "--to", "ice"), 2, "there is no tier 'ice'; the configuration"),
        (("tier", "move", "cherry", "--to", "cold"), 3, "cherry is not a run: there is no such"),
        (("tier", "move", "../x", "--to", "cold"), 3, "is not a run: there is no such folder"),
        (("tier", "move", "a b", "--to", "cold"), 2, "'a b' is not a run name"),
        (("tier", "move", "s3://b/r", "--to", "cold"), 3, "s3://b/r lies in no tier; there are"),
        (
            ("tier", "move", "open", "--to", "cold"),
            3,
            "is still open, and the newest 64 of its",
        ),
        (("tier", "move", "apple", "--to", "hot"), 4, "apple lies in 'hot' already"),
        (("tier", "cancel", "7"), 4, "there is no move 7"),
        (("tier", "pin", "apple", "--tier", "cold"), 4, "no copy in the tier 'cold'"),
        (("scrub", "--rate", "fast"), 2, "--rate 'fast' is no size"),
        (("scrub", "--rate", "0 B"), 2, "is nothing: give more"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    laboratory: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    """And nothing is moved."""
    write(laboratory / "runs" / "open", close=False)
    assert says in told(*words, code=code)
    assert list((laboratory / "cold").rglob("c.*")) == []
    assert (laboratory / "runs" / "apple" / "zarr.json").exists()


def test_a_tier_that_is_not_there(laboratory: Path) -> None:
    """Is told by the check, and stops a move; it is not made below its mount."""
    (laboratory / "cold").rmdir()
    assert "cold: there is no folder" in told("tier", "check", code=7)
    said = told("tier", "move", "apple", "--to", "cold", code=7)
    assert said.count("there is no such folder; make it, or mount what it is on") == 2
    assert "move 1: apple to cold: copying (" in said
    assert "move 1 does not go on, see above: " in said
    assert not (laboratory / "cold").exists()
    assert "all as committed" in told("runs", "verify", "apple")
    (laboratory / "cold").mkdir()
    told("tier", "move", "apple", "--to", "cold")


def test_who_is_at_a_move_is_told(laboratory: Path) -> None:
    """Who asks for it meanwhile sees why nothing more comes of it."""
    told("tier", "plan")
    with Database(laboratory / "runs" / "results" / "ledger.sqlite") as database:
        run = next(each for each in Catalogue(database).runs() if each.name == "apple")
        Moves(database).plan(run, tier="cold", keep=False, why="a test")
        HeldMoves(database).claim("process 7 on lab1/4026 (1b2c3d4e)", lease_seconds=1000)
    for words in (("tier", "move", "apple", "--to", "cold"), ("tier", "status", "apple")):
        said = told(*words)
        assert (
            "apple to cold: planned; process 7 on lab1 is at it, and if that says nothing" in said
        )


def test_a_run_that_another_program_has_named_goes_by_that_name(laboratory: Path) -> None:
    """As lists show it; one that leads elsewhere is none."""
    name = "zwei Wörter #1"
    (laboratory / "runs" / "apple").rename(laboratory / "runs" / name)
    assert name in told("runs", "list")
    assert f"{name} to cold: done" in told("tier", "move", name, "--to", "cold")
    assert "all as committed" in told("runs", "verify", name)
    assert "is not a run name" in told("tier", "move", "berry/../berry", "--to", "cold", code=2)


def test_a_move_that_does_not_go_on_keeps_no_other_from_being_told(laboratory: Path) -> None:
    """Each is told; then which of them are tried again."""
    (laboratory / "cold").rmdir()
    (laboratory / "warm").mkdir()
    warm = '[tiers.warm]\nurl = "warm"\n[tiering]'
    more = '[[tiering.policies]]\nname = "more"\nfrom = "hot"\nto = "warm"\nruns = "b*"\n'
    (laboratory / "forebay.toml").write_text(CONFIGURATION.replace("[tiering]", warm) + more)
    said = told("tier", "apply", code=7)
    assert "move 1: apple to cold: copying (" in said
    assert "move 2: berry to warm: done" in said
    assert "moves that are not over: 1" in said
    assert "move 1 does not go on, see above: 'forebay tier apply' tries again" in said


def test_without_tiers_nothing_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said where they are configured."""
    (tmp_path / "forebay.toml").write_text("runs = 'runs'\n")
    monkeypatch.chdir(tmp_path)
    assert "no tiers are configured" in told("tier", "list")
    assert "[tiers.NAME] of forebay.toml" in told("tier", "check", code=2)


def test_a_moved_run_is_not_repaired_in_its_folder(laboratory: Path) -> None:
    """Its blocks are elsewhere, not lost."""
    told("tier", "move", "apple", "--to", "cold")
    assert "move it back first" in told("runs", "repair", "apple", code=2)


def test_the_status_tells_how_the_cache_serves(laboratory: Path) -> None:
    """What was read from a colder tier once is there the second time."""
    cached = CONFIGURATION.replace(
        "[tiering]\n", '[tiering]\ncache = {folder = "near", capacity = "1 MB"}\n'
    )
    (laboratory / "forebay.toml").write_text(cached)
    try:
        told("tier", "move", "apple", "--to", "cold")
        assert "0 of 0 reads were answered there" in told("tier", "status")
        for _ in range(2):
            open_run("runs/apple").frames.to_numpy()
        (figures,) = [each for each in objects("tier", "status") if "cache" in each]
        assert 0 < figures["misses"] <= figures["hits"] * 2
        assert figures["hit_bytes"] > 0
        assert 0 < figures["bytes"] <= figures["capacity"] == 10**6
    finally:
        read_through(None)


def test_the_list_tells_how_objects_are_kept(laboratory: Path) -> None:
    """As far as that is configured."""
    with (laboratory / "forebay.toml").open("a") as file:
        file.write(
            '[tiers.deep]\nurl = "s3://b/p"\nstorage_class = "DEEP_ARCHIVE"\n'
            'encryption = "aws:kms"\nversioned = true\nlock_days = 30\n'
        )
    assert "DEEP_ARCHIVE, aws:kms, locked for 30 days" in told("tier", "list")
    assert objects("tier", "list")[2]["lock_days"] == 30


def test_runs_of_two_instruments_that_are_called_alike_are_told_apart(
    laboratory: Path,
) -> None:
    """A run is called by all of its name; so are its results, for policies too."""
    names = ("air/001", "berries/001")
    configured = CONFIGURATION.replace('"a*"', '"air/*"\ndata = "result"')
    (laboratory / "forebay.toml").write_text('results = "runs/results"' + configured)
    found = {}
    for name in names:
        told("acquire", "simulated:shape=16x16", name, "--frames", "4", "--frames-per-block", "2")
        told("process", name, "find-particles", "--cluster", "none", "-p", "diameter=3")
        (found[name],) = (laboratory / "runs" / "results" / name).iterdir()
        assert open_run(laboratory / "runs" / name).name == name
        assert open_result(found[name]).job.run_name == name
        assert str(found[name]) in told("process", name, "find-particles", "-p", "diameter=3")
    (result,) = objects("tier", "apply")
    assert result["run"] == f"air/001/{found['air/001'].name}"
    assert len(open_result(found["air/001"]).done) == 2


@pytest.mark.parametrize(
    "words",
    [
        "scan",
        "plan",
        "status",
        "cancel 1",
        "hold apple --reason audit",
        "release apple",
        "unpin apple",
    ],
)
def test_where_no_tiers_are_configured_nothing_is_made(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no tiers are configured" in told("tier", *words.split(), code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runs", ["../runs", "../linked", "../linked/../linked"])
def test_a_place_is_one_whichever_way_leads_to_it(
    laboratory: Path, monkeypatch: pytest.MonkeyPatch, runs: str
) -> None:
    """By another configuration, from another folder, through a link: nothing is known twice."""
    (laboratory / "linked").symlink_to("runs")
    there = laboratory / "elsewhere"
    there.mkdir()
    other = f'runs = "{runs}"\n[tiers.hot]\nurl = "{runs}"\n[tiers.cold]\nurl = "../cold"\n'
    (there / "forebay.toml").write_text(f"{other}[tiering]\ngrace_seconds = 0\n")
    told("tier", "move", "apple", "--to", "cold", "--keep")
    monkeypatch.chdir(there)
    assert "lies in 'cold' already" in told(
        "tier", "move", "apple", "--to", "cold", "--keep", code=4
    )
    told("tier", "move", "berry", "--to", "cold")
    assert "says what lies in the tiers" in told("tier", "scan")
    monkeypatch.chdir(laboratory)
    for name, tiers in (("apple", ["hot", "cold"]), ("./elsewhere/../linked/berry", ["cold"])):
        (lies,) = [each for each in objects("tier", "status", name) if "tiers" in each]
        assert sorted(lies["tiers"]) == sorted(tiers)
    assert "says what lies in the tiers" in told("tier", "scan")
    assert "all as committed" in told("runs", "verify", "berry")


def test_a_result_is_one_whichever_way_leads_to_it(laboratory: Path) -> None:
    """As a run is."""
    (laboratory / "linked").symlink_to("runs")
    result, name = publish(laboratory)
    told("tier", "plan")
    linked = laboratory / "linked" / result.path.relative_to(laboratory / "runs")
    told("tier", "move", str(linked), "--to", "cold")
    assert len(open_result(linked).table()) == 3
    (lies,) = [each for each in objects("tier", "status", name) if "tiers" in each]
    assert lies["tiers"] == ["cold"]
