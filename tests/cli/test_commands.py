"""What each command does and prints."""

import json
import os
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import typer
from tests.cli.conftest import EXAMPLES, Forebay
from typer.main import get_command

import forebay as package
from forebay import (
    ExitCode,
    Geometry,
    ImageMetadata,
    RunWriter,
    acquire,
    open_result,
    open_run,
    open_source,
)
from forebay.acquisition.format.codec import CompressionName
from forebay.cli.app import app
from forebay.cli.commands.acquire import Compression
from forebay.cli.commands.completion import (
    complete_compressions,
    complete_failures,
    complete_lanes,
    complete_operation_parameters,
    complete_parameters,
    complete_settings,
)
from forebay.cli.deadlines import complete_deadlines
from forebay.cli.output import print_facts, print_table


def test_version_is_that_of_the_package(forebay: Forebay) -> None:
    assert forebay("--version").out == f"forebay {package.__version__}\n"


def test_acquire_records_the_frames_of_the_files(forebay: Forebay, tmp_path: Path) -> None:
    outcome = forebay(
        "acquire", EXAMPLES, "day/water", "--frames", 10, "--frames-per-block", 4,
        "--pixel-size", 0.351, "--exposure", 0.01, "--instrument", "lens=60x", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    events = outcome.json
    assert events[-1]["event"] == "closed"
    assert (events[-1]["committed"], events[-1]["dropped"]) == (10, 0)
    run = open_run(tmp_path / "day" / "water")
    assert [len(extent) for extent in run.extents] == [4, 4, 2]
    assert run.frames.attrs["pixel_size_micrometer"] == [0.351, 0.351]
    assert run.layout.metadata.instrument["lens"] == "60x"
    from PIL import Image

    with Image.open(EXAMPLES / "bulk_water_009.png") as image:
        np.testing.assert_array_equal(run.frames[9], np.asarray(image))


def test_acquire_at_a_rate_takes_as_long_as_it_must(forebay: Forebay, tmp_path: Path) -> None:
    outcome = forebay(
        "acquire", "simulated:shape=16x16", "paced", "--rate", 100, "--frames", 21, "--json"
    )
    assert outcome.code == 0, outcome.err
    times = open_run(tmp_path / "paced").frames["timestamp"].to_numpy()
    assert (times[-1] - times[0]) / np.timedelta64(1, "ms") == pytest.approx(200, rel=0.5)


def test_acquire_saves_the_truth_of_a_simulated_scene_beside_the_run(
    forebay: Forebay, tmp_path: Path
) -> None:
    outcome = forebay("acquire", "simulated:shape=32x32,emitters=3", "scene", "--frames", 4)
    assert outcome.code == 0, outcome.err
    truth = pd.read_parquet(tmp_path / "scene.truth.parquet")
    assert set(truth.columns) >= {"frame_id", "particle", "y", "x", "photons"}
    assert set(truth["frame_id"]) <= set(range(4))


def test_the_compressions_that_the_command_offers_are_those_of_the_format() -> None:
    assert get_args(Compression) == get_args(CompressionName.__value__)


def test_process_publishes_once_and_says_so_when_nothing_is_left(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    words = ("process", water, "find-particles", "--cluster", "none",
             "-p", "diameter=11", "-p", "minmass=300", "-p", "invert=true")  # fmt: skip
    first = forebay(*words, "--json")
    assert first.code == 0, first.err
    assert [event["event"] for event in first.json] == ["published", "published", "done"]
    done = first.json[-1]
    assert (done["frames"], done["units"], done["computed"]) == (8, 2, 2)
    table = open_result(done["result"]).table()
    assert sorted(table["t"].unique()) == list(range(8))
    again = forebay(*words)
    assert again.code == 0
    assert "nothing to do: all 8 frames are done already" in again.out
    forced = forebay(*words, "--force", "--json")
    assert forced.json[-1]["computed"] == 2
    pd.testing.assert_frame_equal(open_result(done["result"]).table(), table)


def test_process_works_on_the_local_cluster_of_the_settings(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    settings = tmp_path / "forebay.toml"
    settings.write_text("[clusters.local]\nkind = 'local'\nworkers = 1\n")
    outcome = forebay("process", water, "background-spectrum", "--json")
    assert outcome.code == 0, outcome.err
    # A second time nothing is left, and no cluster is started: this one could not be.
    settings.write_text("[clusters.local]\nkind = 'address'\naddress = 'tcp://127.0.0.1:1'\n")
    again = forebay("process", water, "background-spectrum", "--json")
    assert again.code == 0, again.err
    assert again.json[-1]["computed"] == 0
    arrays = open_result(outcome.json[-1]["result"]).arrays()
    frames = open_run(tmp_path / water).frames.compute()
    np.testing.assert_allclose(arrays["background"], np.median(frames, axis=0), atol=1e-3)


def test_process_puts_results_where_it_is_told(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    outcome = forebay(
        "process", water, "find-particles", "--cluster", "none", "--results", "elsewhere", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert Path(outcome.json[-1]["result"]).is_relative_to(tmp_path / "elsewhere")
    shown = forebay("runs", "show", water, "--results", "elsewhere", "--json").json[0]
    (listed,) = shown["results"]
    assert Path(listed["path"]).name == Path(outcome.json[-1]["result"]).name
    assert (listed["frames"], listed["failed_units"]) == (8, [])


def test_runs_show_tells_results_of_runs_of_the_same_name_apart(forebay: Forebay) -> None:
    for day in ("one", "two"):
        forebay("acquire", "simulated:shape=32x32", f"{day}/cell", "--frames", 4)
    forebay("process", "one/cell", "find-particles", "--cluster", "none", "--results", "all")
    one, two = (
        forebay("runs", "show", f"{day}/cell", "--results", "all", "--json").json[0]["results"]
        for day in ("one", "two")
    )
    assert len(one) == 1
    assert two == []


def test_results_of_a_run_go_to_one_place_however_it_is_named(
    forebay: Forebay, tmp_path: Path
) -> None:
    """What one command has computed the others find done."""
    forebay("acquire", "simulated:shape=32x32", "beads/001", "--frames", 4)
    words = ("find-particles", "--cluster", "none", "--json")
    made = forebay("process", "beads/001", *words).json[-1]
    assert Path(made["result"]).parent == tmp_path / "results" / "beads" / "001"
    for run in ("./beads/001", tmp_path / "beads" / "001"):
        again = forebay("process", run, *words).json[-1]
        assert (again["result"], again["computed"]) == (made["result"], 0)
    over_all = forebay("reprocess", *words, "--here").json[-1]
    assert (over_all["results"], over_all["computed"]) == ([made["result"]], 0)


def test_a_run_that_was_recorded_under_a_shorter_name_has_its_results_with_the_others(
    forebay: Forebay, tmp_path: Path
) -> None:
    """Another program may know of no folder of the runs."""
    with open_source("simulated:shape=32x32", frames=4) as source:
        acquire(source, tmp_path / "beads" / "001")
    words = ("find-particles", "--cluster", "none", "--json")
    made = forebay("process", "beads/001", *words).json[-1]
    assert Path(made["result"]).parent == tmp_path / "results" / "001"
    assert forebay("reprocess", *words, "--here").json[-1]["results"] == [made["result"]]


def test_runs_show_finds_what_work_over_several_runs_has_published(forebay: Forebay) -> None:
    forebay("acquire", "simulated:shape=32x32", "monday/cell", "--frames", 4)
    chosen = ("find-particles", "--cluster", "none")
    forebay("process", "monday/cell", *chosen, "-p", "diameter=7")
    forebay("reprocess", *chosen, "--here", "-p", "diameter=9")
    shown = forebay("runs", "show", "monday/cell", "--json").json[0]["results"]
    assert [each["parameters"]["diameter"] for each in shown] == [7, 9]


def test_runs_show_survives_a_result_that_lost_its_ledger(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    forebay("process", water, "find-particles", "--cluster", "none")
    for file in (tmp_path / "results").glob("ledger.sqlite*"):
        file.unlink()
    shown = forebay("runs", "show", water, "--json")
    assert shown.code == 0, shown.err
    assert "lost its ledger" in shown.json[0]["results"][0]["error"]
    assert "lost its ledger" in forebay("runs", "show", water).out


def test_results_never_go_into_a_run(forebay: Forebay, water: str, tmp_path: Path) -> None:
    outcome = forebay("process", water, "find-particles", "--cluster", "none", "--results", water)
    assert outcome.code == ExitCode.USAGE
    assert f"in the run {tmp_path / water}" in outcome.error
    assert forebay("runs", "verify", water).code == 0
    assert not (tmp_path / water / "ledger.sqlite").exists()


def test_a_run_does_not_take_the_place_of_the_results(forebay: Forebay, tmp_path: Path) -> None:
    for name in ("results", "results/cell", "day/results"):
        outcome = forebay("acquire", "simulated:shape=16x16", name, "--frames", 2)
        assert outcome.code == ExitCode.USAGE
        assert f"{name} is where results of other runs go" in outcome.error
    (tmp_path / "forebay.toml").write_text('results = "elsewhere"\n')
    assert forebay("acquire", "simulated:shape=16x16", "results", "--frames", 2).code == 0


def test_runs_list_passes_over_what_may_not_be_looked_into(
    forebay: Forebay, water: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").mkdir()
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert [each["name"] for each in forebay("runs", "list", "--json").json] == [water]


def test_runs_show_tells_what_a_run_holds(forebay: Forebay, water: str, tmp_path: Path) -> None:
    shown = forebay("runs", "show", water, "--json").json[0]
    assert shown["state"] == "closed"
    assert shown["shape"] == [8, 424, 640]
    assert shown["dtype"] == "uint8"
    assert shown["blocks"] == 2
    by_path = forebay("runs", "show", tmp_path / water, "--json").json[0]
    assert by_path["run_id"] == shown["run_id"]
    table = forebay("runs", "show", water)
    assert "8 × 424 × 640" in table.out


def test_runs_list_finds_runs_in_folders_and_nothing_else(forebay: Forebay, tmp_path: Path) -> None:
    assert "no runs" in forebay("runs", "list").out
    for name in ("b", "day/one", "day/two"):
        forebay("acquire", "simulated:shape=16x16", name, "--frames", 2)
    forebay("process", "b", "find-particles", "--cluster", "none")
    listed = forebay("runs", "list", "--json").json
    assert [each["name"] for each in listed] == ["b", "day/one", "day/two"]
    assert {each["state"] for each in listed} == {"closed"}


def test_runs_verify_names_the_block_of_a_flipped_byte(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    assert forebay("runs", "verify", water).code == 0
    shard = tmp_path / water / "frames" / "c.1.0.0"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    outcome = forebay("runs", "verify", water)
    assert outcome.code == ExitCode.DAMAGE
    assert "block 1" in outcome.out
    assert "in block 1" in outcome.error
    as_json = forebay("runs", "verify", water, "--json")
    assert as_json.json[0]["problems"][0]["block"] == 1
    processed = forebay("process", water, "find-particles", "--cluster", "none")
    assert processed.code == ExitCode.INCOMPLETE
    assert "block 1" in processed.error


def test_a_sound_run_needs_no_repair_and_a_closed_one_no_end(forebay: Forebay, water: str) -> None:
    outcome = forebay("runs", "repair", water)
    assert outcome.code == 0, outcome.err
    assert "nothing to repair" in outcome.out
    assert "None" not in outcome.out
    closed = forebay("runs", "close", water)
    assert closed.code == ExitCode.CONFLICT
    assert closed.error.endswith("is closed and whole: nothing is appended to it any more")


def test_algorithms_list_shows_parameters_with_types_and_defaults(forebay: Forebay) -> None:
    listed = {each["name"]: each for each in forebay("algorithms", "list", "--json").json}
    assert set(listed) >= {"find-particles", "background-spectrum"}
    diameter = listed["find-particles"]["parameters"]["properties"]["diameter"]
    assert (diameter["type"], diameter["default"], diameter["minimum"]) == ("integer", 11, 3)
    assert "diameter: int = 11" in forebay("algorithms", "list").out


def test_config_show_says_where_each_value_comes_from(
    forebay: Forebay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "forebay.toml").write_text('runs = "here"\n')
    monkeypatch.setenv("FOREBAY_ACQUISITION__COMPRESSION", "zstd")
    shown = {each["key"]: each for each in forebay("config", "show", "--json").json}
    assert shown["runs"]["value"] == str(tmp_path / "here")
    assert shown["runs"]["source"].endswith("forebay.toml:1")
    assert shown["acquisition.compression"]["source"] == "FOREBAY_ACQUISITION__COMPRESSION"
    assert shown["engine.cluster"]["source"] == "default"
    assert forebay("config", "show", "acquisition", "--json").json[0]["key"].startswith("acq")
    assert "did you mean 'runs'" in forebay("config", "show", "rnus").error


def test_config_show_leaves_passwords_out(
    forebay: Forebay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it writes is often sent to somebody."""
    monkeypatch.setenv("FOREBAY_ENGINE__LEDGER", "postgresql://lab:hush-hush@host/ledger")
    said = forebay("config", "show", "engine.ledger").out
    assert "postgresql://***@host/ledger" in said
    assert "hush-hush" not in forebay("config", "show", "--json").out


def test_config_show_writes_values_as_a_file_has_them(forebay: Forebay, tmp_path: Path) -> None:
    """Rules and policies are tables, and not what Python makes of them."""
    (tmp_path / "forebay.toml").write_text(
        '[tiers.hot]\nurl = "a"\n[tiers.cold]\nurl = "b"\n'
        '[[tiering.policies]]\nname = "über"\nfrom = "hot"\nto = "cold"\nlarger_than = "1 kB"\n'
    )
    shown = forebay("config", "show", "tiering.policies").out
    assert '{ name = "über", from = "hot", to = "cold", larger_than = 1000 }' in shown
    (policy,) = forebay("config", "show", "tiering.policies", "--json").json[0]["value"]
    assert policy == {"name": "über", "from": "hot", "to": "cold", "larger_than": 1000}
    rules = forebay("config", "show", "engine.retries").out
    assert '{ failures = ["invalid", "archived"], action = "give-up" }' in rules
    assert "value                -\n" in forebay("config", "show", "engine.ledger").out
    sizes = forebay("config", "show", "acquisition").out
    assert "acquisition.buffer_bytes                   512 MiB " in sizes
    assert forebay("config", "show", "acquisition.buffer_bytes", "--json").json[0]["value"] == 2**29


def test_config_show_says_what_a_single_setting_is(forebay: Forebay) -> None:
    shown = forebay("config", "show", "acquisition.compression").out
    assert shown.startswith("acquisition.compression\n")
    assert "How the frames are packed." in shown
    assert "Name" not in forebay("config", "show", "acquisition").out


def test_a_run_that_is_not_there_is_told_with_the_nearest_one(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    """Of folders only: a file of nearly that name is no run."""
    (tmp_path / f"{water}s").write_text("")
    for words in (("runs", "show"), ("runs", "verify")):
        refused = forebay(*words, water[:-1])
        assert refused.code == ExitCode.INPUT
        assert f"there is no such folder; did you mean {water!r}?" in refused.error
    assert "did you mean" not in forebay("runs", "show", "quite/another").error


def test_runs_show_is_for_people(forebay: Forebay) -> None:
    """Units stand behind their values; results say how they were made."""
    with open_source("simulated:emitters=3,shape=32x32", frames=4) as source:
        acquire(source, "cell", frames_per_block=2)
    forebay("process", "cell", "find-particles", "--cluster", "none", "-p", "diameter=7")
    shown = forebay("runs", "show", "cell").out
    for fact in (
        " UTC",
        "stored ",
        "duration ",
        "4 of 4 frames",
        "find-particles-1.0.0(diameter=7",
    ):
        assert fact in shown
    assert "_seconds" not in shown
    assert "+00:00" not in shown + forebay("runs", "list").out


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dead list --failure timed", "timed-out"),
        ("transfer water there --compression zst", "zstd"),
        ("ops try bandpass water -p back", "background_sigma="),
    ],
)
def test_options_that_take_one_of_some_words_offer_them(
    words: str, offered: str, forebay: Forebay, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_FOREBAY_COMPLETE", "complete_bash"), ("COMP_WORDS", f"forebay {words}"),
                        ("COMP_CWORD", str(len(words.split())))):  # fmt: skip
        monkeypatch.setenv(name, value)
    assert offered in forebay().out.split()


def test_the_shell_is_offered_what_fits() -> None:
    """Settings, parameters of the algorithm that is named already, lanes."""
    assert ("acquisition.compression", "How the frames are packed.") in complete_settings("acq")
    context = typer.Context(get_command(app))
    context.args = ["water", "find-particles"]
    assert list(complete_parameters(context, "dia")) == [("diameter=", "11 else")]
    context.args = ["water", "find-partic"]
    assert list(complete_parameters(context, "")) == []
    assert list(complete_lanes("v")) == ["validation"]
    assert [span for span, _ in complete_deadlines("8")] == ["8h"]
    assert list(complete_compressions("blosc")) == ["blosc-lz4", "blosc-zstd"]
    assert list(complete_failures("work")) == ["worker-lost"]
    context.args = ["bandpass", "water"]
    assert list(complete_operation_parameters(context, "back")) == [
        ("background_sigma=", "has to be given")
    ]


def test_json_lines_are_json_and_nothing_else_is_on_stdout(forebay: Forebay, water: str) -> None:
    for words in (("runs", "show", water), ("runs", "verify", water), ("runs", "list"),
                  ("config", "show"), ("algorithms", "list")):  # fmt: skip
        for line in forebay(*words, "--json").out.splitlines():
            assert isinstance(json.loads(line), dict)


def test_facts_in_a_file_are_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """However long they are, and without blanks behind them."""
    print_facts("a title", [("path", "x" * 500), ("several", "one\ntwo")])
    assert capsys.readouterr().out == f"a title\npath     {'x' * 500}\nseveral  one\n         two\n"


def test_the_title_of_facts_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts(f"run /{'x' * 300}, closed", [("dropped", 0)])
    assert capsys.readouterr().out.splitlines()[0] == f"run /{'x' * 300}, closed"


def test_a_table_in_a_file_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "path"), [("a", "x" * 150)])
    assert "x" * 150 in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wide", "shown"),
    [
        (60, "job 1\nalgorithm find-particles-1.0.0\nwhere it lies /data/xxxxxxxxxx"),
        (90, "job algorithm where it lies"),
    ],
)
def test_a_table_too_wide_for_the_terminal_is_printed_as_names_and_values(
    wide: int, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For its words would be broken into pieces."""
    for name, value in (("COLUMNS", str(wide)), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    columns = ("job", "algorithm", "where it lies")
    print_table(columns, [[1, "find-particles-1.0.0", "/data/" + "x" * 40]] * 2)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert shown in "\n".join(" ".join(line.split()) for line in plain.splitlines())


@pytest.mark.parametrize("wide", [76, 100])
def test_a_table_breaks_no_word_where_all_of_them_fit(
    wide: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spaces between columns go first, and cells are broken between words."""
    for name, value in (("COLUMNS", str(wide)), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    columns = ("job", "state", "lane", "algorithm", "runs", "units", "dead", "owner", "submitted")
    row = (1, "ready", "reprocess", "find-particles-1.0.0", 2, "0 of 0", 0, "root",
           "2026-11-22 23:02:58")  # fmt: skip
    print_table(columns, [row])
    plain = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert " ".join(columns) in " ".join(plain.split())
    assert {"find-particles-1.0.0", "reprocess", "2026-11-22", "23:02:58"} <= set(plain.split())


@pytest.mark.parametrize(
    ("command", "shown", "lacks"),
    [
        ("acquire", "{SOURCE} {RUN}", "{source}"),
        ("doctor", "--strict   ", "<bool>"),
        ("tune", "what they replace is kept", "what they\n"),
    ],
)
def test_help_says_what_is_to_be_given(
    command: str, shown: str, lacks: str, forebay: Forebay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arguments are named as in its sentences, flags take no value, and paragraphs flow."""
    monkeypatch.setenv("COLUMNS", "120")
    told = forebay(command, "--help").out
    assert shown in told
    assert lacks not in told


def test_what_nobody_has_decided_is_said_to_be_nothing(forebay: Forebay) -> None:
    assert forebay("cluster", "decisions", "local").out == (
        "no decision about local was written down yet\n"
    )


def test_runs_show_says_what_is_not_known_of_an_instrument(forebay: Forebay) -> None:
    geometry = Geometry(dims=("y", "x"), shape=(8, 8), dtype=np.dtype("uint8"))
    known = ImageMetadata(instrument={"clock_uncertainty": None})
    RunWriter.create("cell", geometry, metadata=known).close()
    assert "clock_uncertainty: not known" in forebay("runs", "show", "cell").out
