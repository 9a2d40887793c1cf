"""Jobs for a service on the command line: submitting, watching, changing, and dead letters."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from tests.cli.conftest import Forebay, Start, lines, started
from tests.cli.submitted import (
    SECONDS,
    Serving,
    cell,
    done,
    failed,
    recorded,
    serving,
)

from forebay import ExitCode, Geometry, RunWriter, open_result
from forebay.cli.app import app
from forebay.cli.commands.completion import complete_jobs

__all__ = ["cell", "failed", "recorded", "serving"]


def test_a_job_is_submitted_watched_and_shown(
    forebay: Forebay, cell: str, serving: Serving, tmp_path: Path
) -> None:
    """What is submitted waits for a service, and is published when there is one."""
    first = done(forebay("jobs", "submit", "picky", cell, "-p", "limit=100", "-l", "day=monday"))
    assert first.out.splitlines() == [
        "job 1 is ready",
        "  no service is running ('forebay serve' starts one)",
    ]
    (again,) = done(forebay("jobs", "submit", "picky", cell, "-p", "limit=100", "--json")).json
    assert again == {"job": 1, "new": False, "state": "ready"}
    twice = done(forebay("jobs", "submit", "picky", cell, "-p", "limit=100"))
    assert twice.out.startswith("job 1 was submitted already and is ready")
    assert twice.err == ""
    soon = done(forebay("jobs", "submit", "picky", cell, "-p", "limit=100", "--deadline", "8h",
                        "--lane", "reprocess"))  # fmt: skip
    (kept,) = soon.err.splitlines()
    assert kept.startswith("forebay: job 1 keeps its deadline: change it with 'forebay jobs")
    with serving():
        watched = done(forebay("jobs", "watch", "1", "--json"))
    assert watched.json[-1]["state"] == "done"
    assert watched.json[-1]["units"] == {"done": 4}
    told = done(forebay("jobs", "watch", "1")).out
    assert told == "job 1 is done: 4 of 4 units published, 0 dead letters\n"
    (shown,) = done(forebay("jobs", "show", "1", "--json")).json
    assert (shown["frames"], shown["labels"]) == ({"done": 8}, {"day": "monday"})
    (folder,) = shown["results"]
    assert Path(folder).is_relative_to(tmp_path / "results")
    assert open_result(folder).frames == 8
    table = done(forebay("jobs", "show", "1")).out
    for part in ("picky-1.0.0", "everything is published", "limit=100", "4 done", folder):
        assert part in table


def test_a_job_that_is_done_is_submitted_as_a_new_one_and_computes_nothing(
    forebay: Forebay, cell: str, serving: Serving
) -> None:
    """What is done is not done again, unless it is forced."""
    words = ("jobs", "submit", "picky", cell, "-p", "limit=100", "--wait", "--json")
    with serving():
        first, *_, last = done(forebay(*words)).json
        assert (first["job"], last["worked_seconds"] > 0) == (1, True)
        second, *_, now = done(forebay(*words)).json
        assert second == {"job": 2, "new": True, "state": "ready"}
        assert now["worked_seconds"] == last["worked_seconds"]
        *_, forced = done(forebay(*words, "--force")).json
        assert (forced["job"], forced["worked_seconds"] != last["worked_seconds"]) == (3, True)


def test_jobs_are_listed_by_state_label_and_owner(forebay: Forebay, cell: str) -> None:
    """The newest job comes first, and options choose among them."""
    done(forebay("jobs", "submit", "picky", cell, "-l", "day=monday", "--lane", "validation"))
    done(forebay("jobs", "submit", "picky", cell, "-p", "limit=7", "--priority", 3))
    done(forebay("jobs", "pause", "2"))
    listed = done(forebay("jobs", "list", "--json")).json
    assert [each["job"] for each in listed] == [2, 1]
    assert [each["lane"] for each in listed] == ["reprocess", "validation"]
    for words, jobs in (
        (("--state", "paused"), [2]),
        (("--state", "paused", "--state", "ready"), [2, 1]),
        (("--label", "day=monday"), [1]),
        (("--owner", listed[0]["owner"]), [2, 1]),
        (("--owner", "nobody of that name"), []),
        (("--limit", 1), [2]),
    ):
        assert [each["job"] for each in forebay("jobs", "list", *words, "--json").json] == jobs
    table = done(forebay("jobs", "list")).out
    assert "picky-1.0.0" in table
    assert "0 of 0" in table
    empty = done(forebay("jobs", "list", "--state", "failed"))
    assert empty.out == "there are no such jobs\n"


def test_a_job_is_explained_paused_resumed_and_prioritised(forebay: Forebay, cell: str) -> None:
    """Each change is told, and explained afterwards."""
    done(forebay("jobs", "submit", "picky", cell))
    done(forebay("jobs", "submit", "picky", cell, "-p", "limit=7", "--after", 1))
    assert "it comes after job 1, which is ready" in done(forebay("jobs", "explain", "2")).out
    assert "job 1 is paused" in done(forebay("jobs", "pause", "1")).out
    (explained,) = done(forebay("jobs", "explain", "1", "--json")).json
    assert explained["reasons"] == ["'forebay jobs resume 1' goes on with it"]
    assert explained["state"] == "paused"
    assert done(forebay("jobs", "resume", "1")).out == "job 1 is ready\n"
    outcome = done(forebay("jobs", "prioritise", "1", "--lane", "realtime", "--priority", 5))
    assert outcome.out == "job 1 is in the lane realtime, priority 5\n"
    assert done(forebay("jobs", "cancel", "1")).out.startswith("job 1 was cancelled")
    assert "cancelled by" in forebay("jobs", "explain", "1").out
    # What waited for it will never be its turn.
    assert "job 1 was cancelled" in forebay("jobs", "explain", "2").out
    assert done(forebay("jobs", "retry", "1")).out.endswith("job 1 is ready\n")


def test_a_deadline_is_given_changed_and_told(forebay: Forebay, cell: str) -> None:
    """As a span or a time; jobs of one lane and priority go by it."""
    for words in (("--deadline", "8h"), ("-p", "limit=7", "--deadline", "2035-01-31 18:00")):
        done(forebay("jobs", "submit", "picky", cell, *words))
    deadline = done(forebay("jobs", "show", "2", "--json")).json[0]["deadline"]
    assert deadline == "2035-01-31T18:00:00+00:00"
    assert re.search(r"its deadline is in (7 h 59|8 h 0) min", forebay("jobs", "explain", "1").out)
    left = forebay("jobs", "explain", "2", "--json").json[0]["deadline_in_seconds"]
    assert left == pytest.approx(2053879200 - time.time(), abs=100)
    told = done(forebay("jobs", "prioritise", "2", "--deadline", "30min")).out
    assert told.startswith("job 2 is in the lane reprocess, priority 0, to be done by 20")
    first, second = (
        forebay("jobs", "explain", number, "--json").json[0]["place"] for number in (1, 2)
    )
    assert (first, second) == (1, 1)


MISTAKES: list[tuple[tuple[object, ...], ExitCode, str]] = [
    (("submit", "pickey", "cell"), ExitCode.USAGE, "no algorithm 'pickey'; did you mean 'picky'"),
    (("submit", "picky-9.0.0", "cell"), ExitCode.USAGE, "no algorithm 'picky-9.0.0'"),
    (("submit", "picky", "sell"), ExitCode.INPUT, "sell is not a run"),
    (("submit", "picky", "../../cell/.."), ExitCode.INPUT, "is not a run"),
    (("submit", "picky", "cell", "cell"), ExitCode.USAGE, "the same run twice"),
    (("submit", "picky", "cell", "-p", "limit"), ExitCode.USAGE, "-p 'limit' lacks a part"),
    (("submit", "picky", "cell", "-p", "limit=low"), ExitCode.USAGE, "limit"),
    (("submit", "picky", "cell", "-p", "depth=3"), ExitCode.USAGE, "depth"),
    (("submit", "picky", "cell", "-l", "=x"), ExitCode.USAGE, "-l '=x' lacks a part"),
    (("submit", "picky", "cell", "-l", "a=x", "-l", "a=y"), ExitCode.USAGE, "-l a is given"),
    (("submit", "picky", "cell", "--lane", "slow"), ExitCode.USAGE, "no lane 'slow'"),
    (("submit", "picky", "cell", "--deadline", "8"), ExitCode.USAGE, "'8' is no time"),
    (("submit", "picky", "cell", "--deadline", "2020-01-01"), ExitCode.USAGE, "has passed"),
    (("submit", "picky", "cell", "--deadline", "9" * 9 + "d"), ExitCode.USAGE, "is no time"),
    (("submit", "picky", "cell", "--deadline", "99999d"), ExitCode.USAGE, "is too far away"),
    (("submit", "picky", "cell", "--priority", 10**7), ExitCode.USAGE, "a priority lies"),
    (
        ("submit", "picky", "cell", "-p", "limit=9", "--after", 7),
        ExitCode.INPUT,
        "there is no job 7",
    ),
    (
        ("submit", "picky", "cell", "-p", "limit=9", "--after", 2),
        ExitCode.USAGE,
        "job 2 was cancelled: nothing",
    ),
    (("submit", "picky", "cell", "--failures-allowed", -1), ExitCode.USAGE, "failures_allowed"),
    (("submit", "picky", "cell", "--key", "k" * 201), ExitCode.USAGE, "a key has 1 to 200"),
    (("submit", "picky", "cell", "--results", "cell"), ExitCode.USAGE, "in the run"),
    (
        ("submit", "picky", "cell", "--results", "forebay.toml/in"),
        ExitCode.USAGE,
        "forebay.toml is no folder, choose another",
    ),
    (("submit", "picky", "cell", "--ledger", "cell/x"), ExitCode.USAGE, "in the run"),
    (("submit", "picky", "cell", "--ledger", "mysql://x/y"), ExitCode.STORAGE, "mysql"),
    (("list", "--state", "lost"), ExitCode.USAGE, "there is no state 'lost'"),
    (("list", "--label", "day"), ExitCode.USAGE, "-l 'day' lacks a part"),
    (("list", "--ledger", "forebay.toml"), ExitCode.STORAGE, "forebay.toml cannot be used"),
    (("show", 9), ExitCode.INPUT, "there is no job 9"),
    (("show", "nine"), ExitCode.USAGE, "'JOB'"),
    (("explain", 9), ExitCode.INPUT, "there is no job 9"),
    (("watch", 9), ExitCode.INPUT, "there is no job 9"),
    (("cancel", 9), ExitCode.INPUT, "there is no job 9"),
    (("cancel", 2), ExitCode.USAGE, "job 2 cannot be cancelled: it was cancelled"),
    (("pause", 2), ExitCode.USAGE, "job 2 cannot be paused: it was cancelled"),
    (("resume", 1), ExitCode.USAGE, "job 1 is ready: only one that is paused"),
    (("retry", 9), ExitCode.INPUT, "there is no job 9"),
    (("prioritise", 1), ExitCode.USAGE, "say what to change"),
    (("prioritise", 1, "--lane", "slow"), ExitCode.USAGE, "no lane 'slow'"),
    (("prioritise", 9, "--priority", 1), ExitCode.INPUT, "there is no job 9"),
]


def test_a_mistake_is_told_in_one_line(forebay: Forebay, cell: str) -> None:
    """Job 1 is ready and job 2 is cancelled; neither is changed by what is refused."""
    done(forebay("jobs", "submit", "picky", cell))
    done(forebay("jobs", "submit", "picky", cell, "-p", "limit=7"))
    done(forebay("jobs", "cancel", "2"))
    before = forebay("jobs", "list", "--json").json
    for words, code, told in MISTAKES:
        outcome = forebay("jobs", *words)
        assert told in outcome.error
        assert (outcome.code, outcome.out) == (code, ""), words
    assert forebay("jobs", "list", "--json").json == before


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "list"),
        ("jobs", "show", "1"),
        ("jobs", "watch", "1"),
        ("jobs", "cancel", "1"),
        ("dead", "list"),
        ("dead", "replay", "--all"),
    ],
    ids=" ".join,
)
def test_without_a_ledger_nothing_is_made(
    forebay: Forebay, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """A command that looks for jobs says where it looked, and leaves nothing behind."""
    outcome = forebay(*words)
    assert outcome.code == ExitCode.INPUT
    assert f"there is no ledger {tmp_path / 'results' / 'ledger.sqlite'}" in outcome.error
    assert list(tmp_path.iterdir()) == []


def test_an_algorithm_of_the_whole_run_is_refused_while_the_run_grows(
    forebay: Forebay, cell: str, tmp_path: Path
) -> None:
    """It can be submitted to follow the run, which waits for its end."""
    geometry = Geometry(("y", "x"), (4, 4), np.dtype("uint8"))
    RunWriter.create(tmp_path / "growing", geometry).abandon()
    outcome = forebay("jobs", "submit", "whole", "growing")
    assert outcome.code == ExitCode.CONFLICT
    assert "needs the whole run" in outcome.error
    assert not (tmp_path / "results").exists()
    (followed,) = done(forebay("jobs", "submit", "whole", "growing", "--follow", "--json")).json
    (shown,) = forebay("jobs", "show", followed["job"], "--json").json
    assert shown["lane"] == "realtime"


def test_the_folder_of_the_runs_is_where_results_and_the_ledger_lie(
    forebay: Forebay, cell: str, serving: Serving, tmp_path: Path
) -> None:
    """A service, a job and a call of ``process`` of one folder of runs have the same results."""
    (tmp_path / "data").mkdir()
    (tmp_path / cell).rename(tmp_path / "data" / cell)
    where = ("--runs", "data")
    job = forebay("jobs", "submit", "picky", cell, "-p", "limit=100", *where, "--json").json[0]
    with serving(tmp_path / "data" / "results" / "ledger.sqlite"):
        done(forebay("jobs", "watch", job["job"], *where))
    again = forebay("process", cell, "picky", "-p", "limit=100", "--cluster", "none", *where)
    assert "nothing to do: all 8 frames are done already" in done(again).out
    here = forebay("reprocess", "picky", "-p", "limit=100", "--here", "--cluster", "none", *where)
    assert "4 of 4 units are published, 0 of them now; runs: 1" in done(here).out


def test_a_ledger_of_the_settings_is_everybodys_and_lies_beside_them(
    forebay: Forebay, cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: Path
) -> None:
    """A relative path starts at the file that it stands in, wherever one calls from."""
    (tmp_path / "forebay.toml").write_text(
        f'runs = "."\n[engine]\nledger = "queue.sqlite"\nalgorithm_modules = [{str(written)!r}]\n'
    )
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    done(forebay("jobs", "submit", "picky", cell))
    done(forebay("process", cell, "picky", "-p", "limit=100", "--cluster", "none"))
    assert (tmp_path / "queue.sqlite").is_file()
    assert not list(tmp_path.rglob("ledger.sqlite"))
    assert "reprocess" in forebay("jobs", "list").out


def test_a_result_of_one_ledger_is_not_entered_in_another(
    forebay: Forebay, cell: str, tmp_path: Path
) -> None:
    """The other ledger would know nothing of what is published, and have it removed."""
    words = (cell, "picky", "-p", "limit=100", "--cluster", "none")
    done(forebay("process", *words))
    before = sorted(tmp_path.rglob("part.json"))
    for outcome in (
        forebay("process", *words, "--ledger", "other.sqlite"),
        forebay("jobs", "submit", "picky", cell, "-p", "limit=100", "--ledger", "other.sqlite"),
        forebay("reprocess", "picky", "-p", "limit=100", "--here", "--cluster", "none",
                "--ledger", "other.sqlite"),
    ):  # fmt: skip
        assert outcome.code == ExitCode.CONFLICT
        assert "are entered in the ledger" in outcome.error
    assert sorted(tmp_path.rglob("part.json")) == before


def test_a_job_for_a_cluster_waits_for_a_service_that_has_it(
    forebay: Forebay, cell: str, serving: Serving
) -> None:
    with serving():
        told = done(forebay("jobs", "submit", "picky", cell, "-p", "limit=9", "--cluster", "gpus"))
        assert "no service computes on the cluster 'gpus'" in told.out
        assert "gpus" in done(forebay("jobs", "show", "1")).out


@pytest.fixture
def days(forebay: Forebay, cell: str, tmp_path: Path) -> list[str]:
    """Give three runs: two that are whole, and one whose log is damaged."""
    names = ["monday", "tuesday"]
    for name in names:
        words = ("acquire", "simulated:shape=16x16", name, "--frames", 4, "--frames-per-block", 2)
        done(forebay(*words))
    for log in (tmp_path / cell / "_forebay" / "log").iterdir():
        log.write_bytes(b"damaged " + log.read_bytes())
    return names


def test_reprocess_goes_over_all_runs_of_a_folder_and_names_what_it_leaves_out(
    forebay: Forebay, days: list[str], serving: Serving
) -> None:
    """A run that cannot be read is told of, and the code is that of what is incomplete."""
    dry = done(forebay("reprocess", "picky", "--dry-run", "--json"))
    assert [each["run"] for each in dry.json] == days
    assert "left out: " in dry.err
    assert "monday" in forebay("reprocess", "picky", "--dry-run").out
    with serving():
        outcome = forebay("reprocess", "picky", "--wait", "--json")
    assert outcome.code == ExitCode.INCOMPLETE, outcome.err
    assert outcome.json[-1]["units"] == {"done": 4}
    assert "cell" in outcome.err
    words = ("reprocess", "picky", "--here", "--cluster", "none")
    again = done(forebay(*words, "--name", "*day"))
    assert "4 of 4 units are published, 0 of them now; runs: 2" in again.out
    one = done(forebay(*words, "--name", "mon*", "-p", "limit=7", "--json"))
    assert {each.get("run") for each in one.json[:-1]} == {"monday"}
    assert one.json[-1]["complete"]
    assert one.json[-1]["computed"] == 2


def test_reprocess_here_reports_what_could_not_be_computed(
    forebay: Forebay, days: list[str]
) -> None:
    """What failed is named, and the others are published."""
    words = ("reprocess", "picky", "--name", "*day", "-p", "limit=2", "--here", "--cluster", "none")
    outcome = forebay(*words)
    assert outcome.code == ExitCode.INCOMPLETE, outcome.err
    assert "2 of 4 units are published, 2 of them now; runs: 2" in outcome.out
    assert "missing: monday t0000000002-0000000004: ValueError: too dark" in outcome.out
    (*_, last) = forebay(*words, "--json").json
    assert (last["complete"], len(last["dead"])) == (False, 2)
    nothing = ["limit=0" if each == "limit=2" else each for each in words]
    missing = [line for line in forebay(*nothing).out.splitlines() if line.startswith("missing")]
    # What is the same of all units of a run is said once.
    assert [line.partition(":")[2].partition(": ")[0] for line in missing] == [
        f" {day} t0000000000-0000000002 and 1 more" for day in ("monday", "tuesday")
    ]


def test_reprocess_chooses_runs_by_when_they_were_taken(forebay: Forebay, days: list[str]) -> None:
    """Times are those of the first frame, in UTC."""
    words = ("reprocess", "picky", "--dry-run", "--json", "--name", "*day")
    assert len(done(forebay(*words, "--since", "2020-01-01")).json) == 2
    assert len(done(forebay(*words, "--before", "2100-01-01 12:00:00")).json) == 2
    for late in (("--since", "2100-01-01"), ("--before", "2020-01-01")):
        outcome = forebay(*words, *late)
        assert outcome.code == ExitCode.USAGE
        assert "no closed run in" in outcome.error
    outcome = forebay(*words, "--since", "yesterday")
    assert outcome.code == ExitCode.USAGE
    assert "--since" in outcome.error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--here", "--lane", "realtime"), "--lane is for a service"),
        (("--here", "--wait"), "--wait is for a service"),
        (("--cluster", "none"), "--cluster is for --here"),
        (("--name", "nothing*"), "no closed run in"),
        (("-p", "limit=low"), "limit"),
        (("--here", "--cluster", "nowhere"), "there is no cluster 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_with_reprocess_are_told_in_one_line(
    forebay: Forebay, cell: str, words: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    """Nothing is submitted and nothing is made."""
    outcome = forebay("reprocess", "picky", *words)
    assert told in outcome.error
    assert outcome.code == ExitCode.USAGE
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--cluster", "nowhere"), ExitCode.USAGE, "there is no cluster 'nowhere'"),
        (("--results", "cell"), ExitCode.USAGE, "in the run"),
        (("--ledger", "forebay.toml"), ExitCode.STORAGE, "forebay.toml cannot be used"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_service_that_can_never_work_does_not_begin(
    forebay: Forebay, cell: str, words: tuple[str, ...], code: ExitCode, told: str
) -> None:
    """It is refused at once, and not tried again for ever."""
    outcome = forebay("serve", *words)
    assert told in outcome.error
    assert outcome.code == code


def test_the_ledger_is_named_that_results_are_entered_in(
    forebay: Forebay, cell: str, tmp_path: Path
) -> None:
    """Where there is none in their folder, which is looked into if nothing else is said."""
    other = tmp_path / "other.sqlite"
    words = ("process", cell, "picky", "-p", "limit=100", "--cluster", "none")
    done(forebay(*words, "--ledger", other))
    outcome = forebay("jobs", "list")
    assert outcome.code == ExitCode.INPUT
    assert f"are entered in {other}; give --ledger {other}" in outcome.error
    done(forebay("jobs", "list", "--ledger", other))


def test_tab_offers_the_numbers_of_jobs(forebay: Forebay, cell: str) -> None:
    """With what they compute; where there is no ledger, nothing is offered and nothing made."""
    command = typer.main.get_command(app)
    context: Any = typer.Context(command)
    assert list(complete_jobs(context, "")) == []
    done(forebay("jobs", "submit", "picky", cell))
    assert list(complete_jobs(context, "")) == [("1", "picky-1.0.0, ready")]
    assert list(complete_jobs(context, "2")) == []


def test_a_service_says_when_it_is_ready_and_ends_in_order(
    forebay: Forebay, cell: str, tmp_path: Path
) -> None:
    """It tells of each unit, and SIGTERM ends it with code 0."""
    done(forebay("jobs", "submit", "picky", cell))
    words = ("serve", "--cluster", "none", "--json")
    process = started([sys.executable, "-m", "forebay"], tmp_path, *words)
    told = lines(process.stdout)
    ready = json.loads(told.readline())
    assert ready["event"] == "ready"
    assert ready["ledger"] == str(tmp_path / "results" / "ledger.sqlite")
    events = [json.loads(told.readline()) for _ in range(6)]
    kinds = sorted(each["event"] for each in events)
    assert kinds == ["dead", "dead", "published", "published", "retried", "retried"]
    assert {(each["run"], each["algorithm"]) for each in events} == {("cell", "picky-1.0.0")}
    os.kill(process.pid, signal.SIGUSR1)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "(most recent call first)" in err, "SIGUSR1 tells where it stands"
    assert "no service is running" not in forebay("jobs", "explain", "1").out


def test_a_second_interrupt_gives_up_what_is_computed_and_gives_it_back(
    forebay: Forebay, cell: str, tmp_path: Path, start: Start
) -> None:
    """What was begun is ready for the next service, without having used up a retry."""
    done(forebay("jobs", "submit", "held-up", cell))
    process = start(tmp_path, "serve", "--cluster", "none")
    told = lines(process.stdout)
    assert "works on the jobs of" in told.readline()
    assert "stuck now" in told.readline()
    os.killpg(process.pid, signal.SIGINT)
    assert any("stopping" in line for line in lines(process.stderr))
    os.killpg(process.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in err
    (shown,) = forebay("jobs", "show", "1", "--json").json
    assert (shown["state"], shown["units"]) == ("ready", {"ready": 4})


def test_an_interrupt_ends_the_waiting_and_not_the_job(
    forebay: Forebay, cell: str, tmp_path: Path, start: Start
) -> None:
    """The code says that it was interrupted, and the job is there still."""
    process = start(tmp_path, "jobs", "submit", "picky", cell, "--wait", "--json")
    told = lines(process.stdout)
    assert json.loads(told.readline())["new"]
    assert json.loads(told.readline())["state"] == "ready"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == ExitCode.INTERRUPTED, err
    assert "job 1 is ready and is not waited for any longer; it goes on all the same" in err
    assert forebay("jobs", "show", "1", "--json").json[0]["state"] == "ready"
