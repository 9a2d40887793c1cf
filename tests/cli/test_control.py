"""``forebay control`` speaks with whatever is writing a run."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acquisition.control.serving import AT, Recording, serving
from tests.cli.conftest import Forebay, Start, lines

from forebay import ExitCode, RunWriter, open_run
from forebay.acquisition.control import ClosedEvent, NotedEvent, StateEvent
from forebay.cli.commands.control import described
from forebay.cli.output import seconds

SERVING = Path(__file__).parents[1] / "acquisition" / "control" / "serving.py"
SECONDS = 30


@pytest.fixture(autouse=True)
def _sockets_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base := tmp_path / ".runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    """Write the run ``water``."""
    with serving(tmp_path / "water") as recording:
        yield recording
        recording.writer.abandon()


@pytest.mark.usefixtures("recording")
def test_status_shows_how_the_acquisition_is_doing(forebay: Forebay) -> None:
    shown = forebay("control", "water", "status", "--json")
    assert shown.code == 0, shown.err
    assert shown.json == [{"flow": "normal", "committed": 2, "latency_seconds": {"median": 0.004}}]
    assert f"median {seconds(0.004)}" in forebay("control", "water", "status").out


def test_stop_ends_the_recording_for_the_reason_given(
    forebay: Forebay, recording: Recording, tmp_path: Path
) -> None:
    outcome = forebay("control", "water", "stop", "--reason", "sample dried")
    assert (outcome.code, outcome.out) == (0, "water is asked to stop\n")
    recording.finish()
    closed = open_run(tmp_path / "water").history.closed
    assert closed is not None
    assert closed.reason == "sample dried"


def test_a_follower_shows_what_happens_until_the_run_is_closed(
    forebay: Forebay, start: Start, recording: Recording, tmp_path: Path
) -> None:
    following = start(tmp_path, "control", "water", "follow", "--json")
    assert "committed" in lines(following.stdout).readline()
    assert forebay("control", "water", "annotate", "lamp replaced").code == 0
    marked = forebay("control", "water", "mark", "pump on", "at 3 bar", "--json")
    assert marked.json == [{"request": "mark", "run": str(tmp_path / "water"), "ok": True}]
    forebay("control", "water", "stop")
    recording.finish()
    out, err = following.communicate(timeout=SECONDS)
    assert following.returncode == 0, err
    assert [json.loads(line) for line in out.splitlines()] == [
        {"event": "noted", "topic": "annotation", "text": "lamp replaced", "counter": 2, "at": AT},
        {"event": "noted", "topic": "event", "text": "pump on: at 3 bar", "counter": 2, "at": AT},
        {"event": "closed", "reason": "stopped by the operator"},
    ]  # fmt: skip


def test_events_are_shown_in_words(forebay: Forebay, recording: Recording) -> None:
    assert recording.server is not None
    recording.server.announce(StateEvent(flow="spilling"))
    recording.server.announce(ClosedEvent(reason="the source ended"))
    assert forebay("control", "water", "follow").out.splitlines() == [
        "committed: 2 frames in 1 block, 0 dropped of 2",
        "state: spilling",
        "closed: the source ended",
    ]
    noted = NotedEvent(topic="event", text="pump on", counter=7, at=1_790_000_000_000_000_000)
    assert described(noted) == "event before frame 7 at 2026-09-21T14:13:20+00:00: pump on"


def test_ctrl_c_ends_the_following_and_the_end_of_the_recording_is_an_error(
    forebay: Forebay, start: Start, warmed: Path, tmp_path: Path
) -> None:
    recording = subprocess.Popen(
        [warmed / "python", "-W", "error", SERVING, "water"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines(recording.stdout).readline()
    stopped, left = (start(tmp_path, "control", "water", "follow") for _ in range(2))
    for following in (stopped, left):
        lines(following.stdout).readline()
    os.killpg(stopped.pid, signal.SIGINT)
    _, err = stopped.communicate(timeout=SECONDS)
    assert stopped.returncode == ExitCode.INTERRUPTED
    assert "the recording goes on" in err
    assert "Traceback" not in err
    assert forebay("control", "water", "status").code == 0
    recording.kill()
    recording.communicate(timeout=SECONDS)
    _, err = left.communicate(timeout=SECONDS)
    assert left.returncode == ExitCode.INPUT
    assert "is gone" in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("recording")
@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("start",), "the acquisition has begun already"),
        (("annotate", ""), "annotate: text: String should have at least 1 character"),
        (("mark", "a\nb"), "control character"),
        (("stop", "--reason", "x" * 300), "stop: reason: String should have at most 200"),
    ],
)
def test_what_the_acquisition_refuses_is_an_error(
    forebay: Forebay, words: tuple[str, ...], wrong: str
) -> None:
    outcome = forebay("control", "water", *words)
    assert outcome.code == ExitCode.USAGE
    assert wrong in outcome.error


def test_a_run_that_nobody_writes_cannot_be_controlled(
    forebay: Forebay, water: str, tmp_path: Path
) -> None:
    closed = forebay("control", water, "status")
    assert closed.code == ExitCode.INPUT
    assert f"{tmp_path / water} is closed: no acquisition is writing it" in closed.error
    assert forebay("control", "missing", "status").code == ExitCode.INPUT
    assert forebay("control", "missing", "dance").code == ExitCode.USAGE
    layout = open_run(tmp_path / water).layout
    with RunWriter.create(tmp_path / "silent", layout.geometry) as writer:
        silent = forebay("control", "silent", "status")
        assert silent.code == ExitCode.INPUT
        assert "no acquisition of this user is writing" in silent.error
        writer.abandon()
    left = forebay("control", "silent", "status")
    assert "nobody is writing" in left.error
    assert "'forebay runs close' ends it" in left.error


def test_the_shell_offers_runs_and_then_what_can_be_asked(
    water: str, warmed: Path, tmp_path: Path
) -> None:
    def offered(words: str) -> set[str]:
        completed = subprocess.run(
            [warmed / "forebay"],
            cwd=tmp_path,
            env={
                **os.environ,
                "_FOREBAY_COMPLETE": "complete_bash",
                "COMP_WORDS": f"forebay {words}",
                "COMP_CWORD": str(len(words.split(" "))),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return set(completed.stdout.split())

    assert offered("control ") == {water}
    assert offered("control water st") == {"status", "stop", "start"}


def test_an_armed_acquisition_waits_until_it_is_started(
    forebay: Forebay, start: Start, tmp_path: Path
) -> None:
    """It says how; nothing is recorded before, and it is started once."""
    armed = start(
        tmp_path, "acquire", "simulated:shape=16x16", "armed", "--armed", "--rate", 50,
        "--frames-per-block", 4, "--json",
    )  # fmt: skip
    told = lines(armed.stdout)
    waiting = json.loads(told.readline())
    assert (waiting["source_state"], waiting["committed"]) == ("waiting", 0)
    began = forebay("control", "armed", "start")
    assert (began.code, began.out) == (0, "armed records\n")
    assert any(json.loads(line)["committed"] >= 4 for line in told)
    again = forebay("control", "armed", "start")
    assert again.code == ExitCode.USAGE
    assert "under way already" in again.error
    assert forebay("control", "armed", "stop").code == 0
    _, err = armed.communicate(timeout=SECONDS)
    assert armed.returncode == 0, err
    assert "'forebay control armed start' begins the recording" in err
    assert not open_run(tmp_path / "armed").dropped


def test_an_armed_acquisition_can_be_stopped_before_it_has_begun(
    forebay: Forebay, start: Start, tmp_path: Path
) -> None:
    """The run is closed, and empty."""
    armed = start(tmp_path, "acquire", "simulated:shape=16x16", "armed", "--armed", "--json")
    lines(armed.stdout).readline()
    assert forebay("control", "armed", "stop").code == 0
    _, err = armed.communicate(timeout=SECONDS)
    assert armed.returncode == 0, err
    run = open_run(tmp_path / "armed")
    assert run.closed
    assert run.history.frames == 0


@pytest.mark.parametrize("words", [("status",), ("water", "status")])
def test_the_help_of_a_command_is_shown_with_and_without_a_run(
    words: tuple[str, ...], forebay: Forebay
) -> None:
    shown = forebay("control", *words, "--help")
    assert shown.code == 0
    assert "Show how the acquisition is doing." in shown.out
    assert "annotate" not in shown.out
