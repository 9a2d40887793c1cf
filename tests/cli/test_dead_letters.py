"""Dead letters are looked at, tried again, discarded and computed at a desk from the command line."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Forebay
from tests.cli.submitted import Serving, cell, done, failed, recorded, serving
from tests.engine.queue.desk import Desk

from forebay import ExitCode, open_result
from forebay.cli.session import user
from forebay.engine.queue.database import Database

__all__ = ["cell", "failed", "recorded", "serving"]


def test_dead_letters_are_listed_and_shown(forebay: Forebay, failed: list[dict[str, Any]]) -> None:
    """A dead letter tells its frames, its error, and where each attempt failed."""
    assert [(each["start"], each["stop"]) for each in failed] in (
        [(4, 6), (6, 8)],
        [(6, 8), (4, 6)],
    )
    assert {each["error"] for each in failed} == {'ValueError: too dark: "frame" \\ 7'}
    table = done(forebay("dead", "list")).out
    assert "picky-1.0.0" in table
    assert "raised" in table
    for words, number in (
        (("--job", 1), 2),
        (("--job", 9), 0),
        (("--algorithm", "picky"), 2),
        (("--algorithm", "picky-1.0.0"), 2),
        (("--algorithm", "picky-1.0.1"), 0),
        (("--algorithm", "whole"), 0),
        (("--failure", "raised"), 2),
        (("--failure", "worker-lost"), 0),
        (("--text", "too dark"), 2),
        (("--text", "too_dark"), 0),
        (("--limit", 1), 1),
    ):
        assert len(forebay("dead", "list", *words, "--json").json) == number, words
    assert forebay("dead", "list", "--text", "%").out == "there are no such dead letters\n"
    unit = failed[0]["unit"]
    shown = done(forebay("dead", "show", unit[:8])).out
    assert f"unit {unit}" in shown
    assert "attempt 2" in shown
    assert "raise ValueError" in shown
    (fields,) = done(forebay("dead", "show", unit, "--json")).json
    assert [each["attempt"] for each in fields["history"]] == [1, 2]
    told = forebay("jobs", "explain", "1").out
    assert "it has 2 dead letters ('forebay dead list --job 1' shows them)" in told


def test_dead_letters_are_replayed_when_the_cause_is_mended(
    forebay: Forebay, failed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Replaying them takes up the job that had failed, and it ends well."""
    (tmp_path / "cure.txt").touch()
    outcome = forebay("dead", "replay", failed[0]["unit"][:10], failed[1]["unit"])
    assert done(outcome).out == "dead letters to be tried again: 2\n"
    assert "job 1 is done: 4 of 4 units" in done(forebay("jobs", "watch", "1")).out
    assert forebay("dead", "list").out == "there are no such dead letters\n"


def test_a_cancelled_job_that_is_tried_again_tells_what_is_left(
    forebay: Forebay, tmp_path: Path
) -> None:
    """It has no dead letters, and goes on all the same."""
    (tmp_path / "results").mkdir()
    with Database(tmp_path / "results" / "ledger.sqlite") as database:
        desk = Desk(database)
        desk.jobs.cancel(desk.queue_up(number=3))
    assert done(forebay("jobs", "retry", "1")).out == (
        "dead letters to be tried again: 0; job 1 is ready, with 3 units to compute\n"
    )


def test_the_dead_letters_of_a_job_are_tried_again_with_it(
    forebay: Forebay, failed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """The job goes on, and is done when they are."""
    (tmp_path / "cure.txt").touch()
    assert done(forebay("jobs", "retry", "1")).out.startswith("dead letters to be tried again: 2")
    done(forebay("jobs", "watch", "1"))


def test_dead_letters_are_replayed_with_other_parameters(
    forebay: Forebay, failed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """As a job over their frames alone, whose result lies beside the other one."""
    told = done(forebay("dead", "replay", "--all", "-p", "limit=100"))
    assert told.out.startswith("job 2 is ready")
    owners = {each["owner"] for each in forebay("jobs", "list", "--json").json}
    assert owners == {user()}
    shown = done(forebay("jobs", "watch", "2"))
    assert "2 of 2 units published" in shown.out
    folders = sorted((tmp_path / "results" / "cell").iterdir())
    frames = sorted(open_result(folder).frames for folder in folders)
    assert frames == [4, 4]
    assert len(forebay("dead", "list", "--json").json) == len(failed), "they stay"


def test_mistakes_with_another_version_are_told(
    forebay: Forebay, failed: list[dict[str, Any]]
) -> None:
    refused = forebay("dead", "replay", "--all", "--version", "9.9.9")
    assert refused.code == ExitCode.USAGE
    assert "picky" in refused.error
    refused = forebay("dead", "replay", failed[0]["unit"][:12], "-p", "gloom=4")
    assert refused.code == ExitCode.USAGE
    assert "picky-1.0.0 has no parameter 'gloom'" in refused.error


def test_dead_letters_are_discarded(forebay: Forebay, failed: list[dict[str, Any]]) -> None:
    """They are not listed any more, and submitting the same again computes them again."""
    outcome = done(forebay("dead", "discard", "--job", 1))
    assert outcome.out.startswith("dead letters discarded: 2;")
    assert forebay("dead", "list", "--json").json == []
    again = forebay("jobs", "submit", "picky", "cell", "-p", "cure=cure.txt", "--wait", "--json")
    assert again.code == ExitCode.INCOMPLETE
    assert again.json[-1]["units"] == {"dead": 2, "done": 2}


def test_a_dead_letter_is_exported_as_a_script_that_raises_what_it_raised(
    forebay: Forebay, failed: list[dict[str, Any]], tmp_path: Path, warmed: Path
) -> None:
    """The script needs neither the queue nor the settings; a file that is there is left alone."""
    unit = failed[0]["unit"]
    outcome = done(forebay("dead", "export", unit, "again.py"))
    assert outcome.out == "again.py computes the unit: python again.py\n"
    printed = done(forebay("dead", "export", unit[:12])).out
    assert printed.rstrip() == (tmp_path / "again.py").read_text().rstrip()
    (tmp_path / "forebay.toml").unlink()
    shutil.rmtree(tmp_path / "results")
    words = [str(warmed / "python"), "-W", "error", "again.py"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == failed[0]["error"]
    assert "frames" in ended.stdout
    (tmp_path / "cure.txt").touch()
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)


def test_a_script_is_never_written_over_a_file(
    forebay: Forebay, failed: list[dict[str, Any]], tmp_path: Path
) -> None:
    """What cannot be written is told with the code for why."""
    (tmp_path / "mine.py").write_text("mine")
    outcome = forebay("dead", "export", failed[0]["unit"], "mine.py")
    assert outcome.code == ExitCode.CONFLICT
    assert "mine.py exists already" in outcome.error
    assert (tmp_path / "mine.py").read_text() == "mine"
    outcome = forebay("dead", "export", failed[0]["unit"], "no/folder.py")
    assert outcome.code == ExitCode.STORAGE
    assert "no/folder.py cannot be written" in outcome.error


def test_mistakes_with_dead_letters_are_told_in_one_line(
    forebay: Forebay, failed: list[dict[str, Any]]
) -> None:
    """Names that name nothing, or too much, and choices that say nothing."""
    unit = failed[0]["unit"]
    for words, code, told in (
        (("show", "abc"), ExitCode.INPUT, "give at least 6 characters"),
        (("show", "abc%_%"), ExitCode.INPUT, "does not name a dead letter"),
        (("show", "zzzzzz"), ExitCode.INPUT, "no dead letter begins with 'zzzzzz'"),
        (("replay", "zzzzzz"), ExitCode.INPUT, "no dead letter begins with 'zzzzzz'"),
        (("export", "zzzzzz"), ExitCode.INPUT, "no dead letter begins with 'zzzzzz'"),
        (("replay",), ExitCode.USAGE, "say which"),
        (("discard",), ExitCode.USAGE, "say which"),
        (("discard", unit, "--all"), ExitCode.USAGE, "not both"),
        (("replay", unit, "--job", 1), ExitCode.USAGE, "not both"),
    ):
        outcome = forebay("dead", *words)
        assert told in outcome.error
        assert (outcome.code, outcome.out) == (code, "")


def test_a_name_that_begins_two_dead_letters_names_neither(
    forebay: Forebay, cell: str, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of seventeen identities two begin with the same digit."""
    monkeypatch.setattr("forebay.engine.queue.dead._SHORTEST_NAME", 1)
    words = ("acquire", "simulated:shape=8x8", "many", "--frames", 17, "--frames-per-block", 1)
    done(forebay(*words))
    with serving():
        forebay("jobs", "submit", "picky", "many", "-p", "limit=0", "--wait")
    units = [each["unit"] for each in forebay("dead", "list", "--json").json]
    assert len(units) == 17
    (first, *_) = [x[0] for x in units if sum(y[0] == x[0] for y in units) > 1]
    outcome = forebay("dead", "show", first)
    assert outcome.code == ExitCode.INPUT
    assert f"more than one dead letter begins with '{first}'" in outcome.error
