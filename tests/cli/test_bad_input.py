"""Bad input gets one line that names the thing and the remedy, and a documented exit code."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.cli.conftest import Forebay

from forebay import ExitCode, Geometry, RunWriter, acquire, open_run, open_source
from forebay.acquisition.sources import SimulatedSource

ROOT = Path(__file__).parents[2]


def assert_whole(path: Path, frames: int) -> None:
    """The run at `path` holds so many frames, all of them readable and as committed."""
    run = open_run(path)
    assert run.frames.shape[0] == frames
    run.frames.compute()
    assert run.verify().ok


def test_a_frame_of_another_shape_midway_ends_the_run_behind_the_frames_before_it(
    forebay: Forebay, pictures: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((10, 10), "uint8")).save(pictures / "image_6.png")
    outcome = forebay("acquire", pictures, "midway", "--frames-per-block", 4)
    assert outcome.code == ExitCode.INPUT
    assert "image_6.png" in outcome.error
    assert "10 × 10" in outcome.error
    assert "24 × 32" in outcome.error
    assert_whole(tmp_path / "midway", frames=6)
    closed = open_run(tmp_path / "midway").history.closed
    assert closed is not None
    assert "image_6.png" in closed.reason


def test_what_ended_a_recording_is_told_though_the_truth_cannot_be_saved_either(
    forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def broken(origin: str, target: str, **options: Any) -> None:
        if "frames/c.1." in str(target):
            raise OSError(errno.EIO, "Input/output error")
        link(origin, target, **options)

    (tmp_path / "scene.truth.parquet").mkdir()
    monkeypatch.setattr(os, "link", broken)
    outcome = forebay(
        "acquire", "simulated:shape=16x16", "scene", "--frames", 12, "--frames-per-block", 4
    )
    assert outcome.code == ExitCode.STORAGE
    assert "cannot write the truth" in outcome.err
    assert "the device reported an I/O error" in outcome.error


def test_sources_are_given_back_where_a_later_one_cannot_be_had(
    forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera is free for others then, and no socket is left."""
    left: list[SimulatedSource] = []
    leave = SimulatedSource.__exit__

    def leaving(self: SimulatedSource, *exc_info: object) -> None:
        left.append(self)
        leave(self, *exc_info)

    monkeypatch.setattr(SimulatedSource, "__exit__", leaving)
    outcome = forebay("acquire", "simulated:shape=16x16", "pair", "--with", "nothing.tif")
    assert outcome.code == ExitCode.INPUT
    assert "nothing.tif" in outcome.error
    assert len(left) == 1


def test_a_frame_of_another_dtype_midway_ends_the_run_behind_the_frames_before_it(
    forebay: Forebay, pictures: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.zeros((24, 32), "uint16")).save(pictures / "image_5.png")
    outcome = forebay("acquire", pictures, "midway", "--frames-per-block", 4)
    assert outcome.code == ExitCode.INPUT
    assert "image_5.png" in outcome.error
    assert "uint16" in outcome.error
    assert "uint8" in outcome.error
    assert_whole(tmp_path / "midway", frames=5)


def test_an_empty_folder_is_no_source(forebay: Forebay, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    outcome = forebay("acquire", "empty", "run")
    assert outcome.code == ExitCode.INPUT
    assert "empty" in outcome.error
    assert not (tmp_path / "run").exists()


def test_a_source_that_is_not_there_is_named(forebay: Forebay, tmp_path: Path) -> None:
    outcome = forebay("acquire", "nowhere.tif", "run")
    assert outcome.code == ExitCode.INPUT
    assert "nowhere.tif does not exist" in outcome.error
    assert not (tmp_path / "run").exists()


def test_a_truncated_tiff_ends_the_run_behind_the_pages_that_are_whole(
    forebay: Forebay, tmp_path: Path
) -> None:
    path = tmp_path / "stack.tif"
    frames = np.random.default_rng(1).integers(0, 999, (8, 40, 50), dtype="uint16")
    with tifffile.TiffWriter(path) as tiff:
        for frame in frames:
            tiff.write(frame, contiguous=False)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3000)
    outcome = forebay("acquire", path, "stack", "--frames-per-block", 2)
    assert outcome.code == ExitCode.INPUT
    assert "stack.tif" in outcome.error
    if (tmp_path / "stack").exists():
        held = open_run(tmp_path / "stack").frames
        np.testing.assert_array_equal(held, frames[: len(held)])
        assert open_run(tmp_path / "stack").verify().ok


def test_a_run_that_exists_is_not_touched(forebay: Forebay, water: str, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    outcome = forebay("acquire", "simulated:shape=16x16", water, "--frames", 4)
    assert outcome.code == ExitCode.CONFLICT
    assert f"{tmp_path / water} exists already" in outcome.error
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_run_that_may_not_be_read_is_told_in_one_line(
    forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Such as that of another user: with the file, and not with a traceback."""
    with open_source("simulated:emitters=1,shape=16x16", frames=2) as source:
        acquire(source, tmp_path / "theirs")

    def refuse(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    refused = forebay("runs", command, "theirs")
    assert refused.code == ExitCode.STORAGE
    assert str(tmp_path / "theirs") in refused.error
    assert "permission is denied; let this user read it" in refused.error


@pytest.mark.parametrize(
    "command", [("runs", "show"), ("runs", "verify"), ("runs", "close"), ("process",)]
)
def test_a_path_that_is_no_run_is_named(
    forebay: Forebay, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "folder").mkdir()
    more = ("find-particles",) if command == ("process",) else ()
    for name in ("folder", "nothing"):
        outcome = forebay(*command, name, *more)
        assert outcome.code == ExitCode.INPUT
        assert f"{name} is not a run" in outcome.error


def test_a_run_being_written_by_someone_else_is_left_to_them(
    forebay: Forebay, tmp_path: Path
) -> None:
    geometry = Geometry(("y", "x"), (4, 4), np.dtype("uint8"))
    with RunWriter.create(tmp_path / "busy", geometry):
        outcome = forebay("runs", "close", "busy")
        assert outcome.code == ExitCode.CONFLICT
        assert f"is being written by process {os.getpid()}" in outcome.error
        again = forebay("acquire", "simulated:shape=16x16", "busy", "--frames", 4)
        assert again.code == ExitCode.CONFLICT


def test_an_algorithm_that_needs_a_whole_run_refuses_one_that_grows(
    forebay: Forebay, tmp_path: Path
) -> None:
    geometry = Geometry(("y", "x"), (4, 4), np.dtype("uint8"))
    with RunWriter.create(tmp_path / "busy", geometry):
        outcome = forebay("process", "busy", "background-spectrum", "--cluster", "none")
    assert outcome.code == ExitCode.CONFLICT
    assert "needs the whole run" in outcome.error


FUSSY = """
import os, pandas as pd, forebay

@forebay.algorithm("fussy", version="1.0.0")
def fussy(frames, *, bad: int = 4):
    '''Fail on the block that holds one frame.'''
    if bad in frames["t"] and not os.path.exists("mended"):
        raise ValueError(f"frame {bad} is beyond me")
    return pd.DataFrame({"t": frames["t"].to_numpy()})
"""


def test_an_algorithm_that_raises_on_one_block_leaves_the_others_published(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    (tmp_path / "fussy.py").write_text(FUSSY)
    (tmp_path / "forebay.toml").write_text('engine.algorithm_modules = ["fussy.py"]\n')
    outcome = forebay("process", water, "fussy", "--cluster", "none", "-p", "bad=5")
    assert outcome.code == ExitCode.INCOMPLETE
    assert "frames 4 to 7" in outcome.error
    assert "frame 5 is beyond me" in outcome.error
    assert "1 of 2 units" in outcome.error
    assert_whole(tmp_path / water, frames=8)
    (tmp_path / "mended").touch()
    again = forebay("process", water, "fussy", "--cluster", "none", "-p", "bad=5", "--json")
    assert again.code == 0, again.err
    assert again.json[-1]["computed"] == 1, "only the unit that failed is computed again"
    assert again.json[-1]["frames"] == 8


@pytest.mark.parametrize(
    "name", ["../outside", "/tmp/outside", "a/../../outside", "..", ".", ".hidden", "a\nb", ""]
)
def test_a_name_that_would_escape_its_folder_is_refused(
    forebay: Forebay, tmp_path: Path, name: str
) -> None:
    outcome = forebay("acquire", "simulated:shape=16x16", name, "--frames", 4, "--runs", "runs")
    assert outcome.code == ExitCode.USAGE
    assert "is not a run name" in outcome.error
    assert not list(tmp_path.rglob("*outside*"))
    assert not (tmp_path.parent / "outside").exists()


WARMED_THERE = """
import subprocess, sys, tempfile
from pathlib import Path
from tests.warmed import programs, wait_for

with tempfile.TemporaryDirectory(prefix="fb-") as folder, programs(Path(folder)) as own:
    wait_for(own)
    subprocess.run(["bash", "-c", sys.argv[1], str(own)], check=True)
"""
"""What serves the commands of a script has to see the mount, too."""


def test_no_space_left_keeps_what_was_committed(tmp_path: Path) -> None:
    """The run lies on a real file system of 8 MiB, mounted in a namespace of its own."""
    script = textwrap.dedent(f"""
        mount -t tmpfs -o size=8m tmpfs {tmp_path}
        cd {tmp_path}
        $0/forebay acquire simulated:shape=256x256,emitters=3 full \\
            --frames 200 --frames-per-block 8
        echo "refused $?"
        $0/forebay acquire simulated:shape=256x256,emitters=3 full \\
            --frames 200 --frames-per-block 8 --compression zstd
        echo "code $?"
        $0/forebay runs show full --json
        $0/forebay runs verify full
        echo "verified $?"
    """)
    unshared = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshared, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system does not let a user mount a file system of their own")
    ended = subprocess.run(
        [*unshared, sys.executable, "-c", WARMED_THERE, script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert f"code {ExitCode.STORAGE.value}\n" in ended.stdout, ended.stdout + ended.stderr
    errors = [line for line in ended.stderr.splitlines() if line.startswith("forebay: error")]
    assert f"refused {ExitCode.STORAGE.value}\n" in ended.stdout
    assert len(errors) == 2, ended.stderr
    assert "200 frames need" in errors[0]
    assert "no space is left" in errors[1]
    assert "Traceback" not in ended.stderr
    assert "verified 0\n" in ended.stdout, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("diameter=wide", ["'diameter'", "'wide'", "integer"]),
        ("diameter=10", ["'diameter' cannot be '10': it must be odd"]),
        ("diameter=1", ["'diameter'", "greater than or equal to 3"]),
        ("minmas=3", ["no parameter 'minmas'", "did you mean 'minmass'"]),
        ("diameter", ["NAME=VALUE"]),
    ],
)
def test_a_parameter_of_the_wrong_type_or_name_is_refused_before_any_work(
    forebay: Forebay, water: str, tmp_path: Path, parameter: str, words: list[str]
) -> None:
    outcome = forebay("process", water, "find-particles", "-p", parameter)
    assert outcome.code == ExitCode.USAGE
    for word in words:
        assert word in outcome.error
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("option", ["--keep-up", "--reduce-at"])
def test_keeping_up_is_refused_of_a_job_that_follows_nothing(
    forebay: Forebay, water: str, option: str
) -> None:
    outcome = forebay("jobs", "submit", "find-particles", water, option, 4)
    assert outcome.code == ExitCode.USAGE
    assert "give --follow" in outcome.error


def test_an_unknown_algorithm_is_answered_with_the_nearest(forebay: Forebay, water: str) -> None:
    outcome = forebay("process", water, "find-partikles")
    assert outcome.code == ExitCode.USAGE
    assert "did you mean 'find-particles'" in outcome.error


def test_an_unknown_cluster_is_answered_with_the_nearest(forebay: Forebay, water: str) -> None:
    outcome = forebay("process", water, "find-particles", "--cluster", "locale")
    assert outcome.code == ExitCode.USAGE
    assert "did you mean 'local'" in outcome.error


def test_a_wrong_setting_is_refused_with_its_place(forebay: Forebay, tmp_path: Path) -> None:
    (tmp_path / "forebay.toml").write_text('[acquisition]\ncompresion = "zstd"\n')
    outcome = forebay("config", "show")
    assert outcome.code == ExitCode.USAGE
    assert "forebay.toml:2" in outcome.error
    assert "compression" in outcome.error


@pytest.mark.parametrize(
    "options", [("--rate", 0), ("--rate", "nan"), ("--pixel-size", -1), ("--instrument", "=x")]
)
def test_an_option_that_cannot_be_is_refused(
    forebay: Forebay, tmp_path: Path, options: tuple[object, ...]
) -> None:
    outcome = forebay("acquire", "simulated:shape=16x16", "run", "--frames", 4, *options)
    assert outcome.code == ExitCode.USAGE
    assert str(options[0]) in outcome.error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("aquire",), "aquire"),
        (("runs", "list", "--jsno"), "--jsno"),
        (("acquire", "simulated", "run", "--frames", "1.5"), "--frames"),
        (("acquire", "simulated", "run", "--compression", "gzip"), "--compression"),
        (("--verison",), "--verison"),
        (("--config",), "--config"),
        (("config", "show", "enigne"), "did you mean 'engine'"),
        (("runs", "list", "more"), "see 'forebay runs list --help'"),
    ],
)
def test_an_unknown_command_or_option_is_a_usage_error_in_one_line(
    forebay: Forebay, words: tuple[str, ...], named: str
) -> None:
    outcome = forebay(*words)
    assert outcome.code == ExitCode.USAGE
    assert named in outcome.error
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("group", [(), ("jobs",)], ids=["forebay", "forebay jobs"])
def test_a_group_without_a_command_shows_its_help_alone(
    forebay: Forebay, group: tuple[str, ...]
) -> None:
    outcome = forebay(*group)
    assert outcome.code == ExitCode.USAGE
    assert "Usage: forebay" in outcome.out + outcome.err
    assert "forebay: error" not in outcome.err


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ("scrub", "scrub [OPTIONS] [RUN]..."),
        ("profile", "profile [OPTIONS] [UNIT]"),
        ("dead replay", "replay [OPTIONS] [UNIT]..."),
        ("jobs submit", "submit [OPTIONS] {ALGORITHM} {RUN}..."),
    ],
)
def test_the_usage_marks_once_what_may_be_left_out_or_repeated(
    forebay: Forebay, command: str, usage: str
) -> None:
    """A name of an argument holds no brackets or dots of its own: they are added to it."""
    shown = forebay(*command.split(), "--help").out
    (line,) = (each.strip() for each in shown.splitlines() if "Usage:" in each)
    assert line.endswith(usage)


@pytest.mark.parametrize("command", [("load",), ("simulate", "pods")], ids=" ".join)
def test_the_load_of_a_ledger_that_is_not_there_is_input_that_lacks(
    forebay: Forebay, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """And not a storage that refuses."""
    (tmp_path / "forebay.toml").write_text(
        """[clusters.pods]
kind = "kubernetes"
image = "forebay"
cpu = 1.0
memory = "1 GiB"
maximum_workers = 2
cost_per_worker_hour = 1.0
burst.threads_here = 4
"""
    )
    outcome = forebay("cluster", *command)
    assert outcome.code == ExitCode.INPUT
    assert "no job was submitted to it yet" in outcome.error
