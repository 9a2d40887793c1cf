"""The sockets lie where only their user can have put them."""

import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.acquisition.control.conftest import RUN, SECONDS, Remembering, Start

from forebay.acquisition.control import ControlClient, ControlServer
from forebay.acquisition.control import folder as folders
from forebay.acquisition.control.folder import runtime_folder as where
from forebay.acquisition.errors import ControlError

NOBODY = 65534
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def test_folder_and_socket_are_for_their_user_only_and_the_socket_goes_with_the_server(
    controlled: Remembering, runtime_folder: Path
) -> None:
    with ControlServer(RUN, controlled):
        (path,) = runtime_folder.iterdir()
        assert path.name == f"{RUN}.sock"
        assert stat.S_IMODE(runtime_folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(runtime_folder.iterdir())


def test_without_a_runtime_folder_of_the_system_the_temporary_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controlled: Remembering
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for unusable in ("", "relative", str(tmp_path / "missing"), str(tmp_path)):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        assert where() == tmp_path / "forebay-4711"


def test_a_folder_that_others_may_enter_is_refused(
    controlled: Remembering, runtime_folder: Path
) -> None:
    runtime_folder.mkdir(mode=0o755)
    with pytest.raises(ControlError, match=r"its mode is 755\): chmod 700"):
        ControlServer(RUN, controlled).__enter__()
    with pytest.raises(ControlError, match="its mode is 755"):
        ControlClient(RUN)


def test_a_link_in_the_place_of_the_folder_is_refused(
    controlled: Remembering, runtime_folder: Path, tmp_path: Path
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir(mode=0o700)
    runtime_folder.symlink_to(elsewhere)
    with pytest.raises(ControlError, match="is a link or a file"):
        ControlServer(RUN, controlled).__enter__()
    assert not list(elsewhere.iterdir())


@root
def test_a_folder_of_another_user_is_refused(controlled: Remembering, runtime_folder: Path) -> None:
    runtime_folder.mkdir(mode=0o700)
    os.chown(runtime_folder, NOBODY, NOBODY)
    with pytest.raises(ControlError, match=f"belongs to user {NOBODY}"):
        ControlServer(RUN, controlled).__enter__()
    with pytest.raises(ControlError, match=f"belongs to user {NOBODY}"):
        ControlClient(RUN)


def test_a_folder_that_cannot_be_made_is_named(
    controlled: Remembering, runtime_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = runtime_folder / "missing" / "forebay"
    monkeypatch.setattr(folders, "runtime_folder", lambda: missing)
    with pytest.raises(ControlError, match=f"{missing}.*No such file or directory.*XDG_RUNTIME"):
        ControlServer(RUN, controlled).__enter__()


@root
def test_another_user_is_turned_away_even_where_the_modes_would_let_it_in(
    server: ControlServer, runtime_folder: Path, tmp_path: Path
) -> None:
    path = runtime_folder / f"{RUN}.sock"
    path.chmod(0o666)
    for folder in (runtime_folder, runtime_folder.parent):
        folder.chmod(0o755)
    script = (
        "import os, socket, sys\n"
        f"os.setuid({NOBODY})\n"
        "with socket.socket(socket.AF_UNIX) as client:\n"
        "    client.settimeout(20)\n"
        "    client.connect(sys.argv[1])\n"
        "    print(client.makefile().read())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    ).stdout
    assert f"user {NOBODY} may not control the acquisition of user 0" in told
    with ControlClient(path) as client:
        assert client.request("status")


def test_a_path_may_be_longer_than_an_address_of_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, controlled: Remembering
) -> None:
    (base := tmp_path / ("x" * 200)).mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    with ControlServer(RUN, controlled):
        for run in (RUN, base / "forebay" / f"{RUN}.sock"):
            with ControlClient(run) as client:
                assert client.request("status")
    assert not list((base / "forebay").iterdir())


def test_only_one_server_serves_a_run(controlled: Remembering, server: ControlServer) -> None:
    with pytest.raises(ControlError, match="another process listens on"):
        ControlServer(RUN, controlled).__enter__()
    with ControlClient(RUN) as client:
        assert client.request("status")


def test_what_a_killed_server_leaves_behind_is_replaced(
    tmp_path: Path, start_serving: Start, runtime_folder: Path, controlled: Remembering
) -> None:
    process, run_id = start_serving(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.wait(SECONDS)
    assert [path.name for path in runtime_folder.iterdir()] == [f"{run_id}.sock"]
    with pytest.raises(ControlError, match="no acquisition of this user is writing"):
        ControlClient(run_id)
    with ControlServer(run_id, controlled), ControlClient(run_id) as client:
        assert client.request("status")["committed"] == 12
    assert not list(runtime_folder.iterdir())


def leave_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


def test_whoever_starts_removes_what_killed_recordings_of_other_runs_left(
    controlled: Remembering, server: ControlServer, runtime_folder: Path
) -> None:
    """And nothing else: neither a socket behind which somebody is, nor what is no control socket."""
    for name in ("a.sock", "b.sock", "camera.ring"):
        leave_behind(runtime_folder / name)
    with ControlServer("c", controlled):
        names = sorted(path.name for path in runtime_folder.iterdir())
        assert names == sorted([f"{RUN}.sock", "c.sock", "camera.ring"])
        with ControlClient(RUN) as client:
            assert client.request("status")


def test_those_that_start_at_once_do_not_remove_each_other(
    controlled: Remembering, runtime_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket does not listen yet when it has just been made: nobody may take it for one left."""
    runtime_folder.mkdir(mode=0o700)
    bound, go_on = threading.Event(), threading.Event()

    class Slow(socket.socket):
        """A socket that is long between its name and its listening."""

        def listen(self, *args: int) -> None:
            bound.set()
            assert go_on.wait(SECONDS)
            super().listen(*args)

    monkeypatch.setattr(socket, "socket", Slow)
    with contextlib.ExitStack() as opened:
        threads = opened.enter_context(ThreadPoolExecutor())
        opened.callback(go_on.set)
        first = threads.submit(opened.enter_context, ControlServer("first", controlled))
        assert bound.wait(SECONDS)
        second = threads.submit(opened.enter_context, ControlServer("second", controlled))
        with pytest.raises(TimeoutError):
            second.result(0.2)
        go_on.set()
        first.result(SECONDS)
        second.result(SECONDS)
        for run in ("first", "second"):
            with ControlClient(run) as client:
                assert client.request("status")


def test_a_process_that_was_stopped_while_it_had_the_folder_holds_nobody_up(
    controlled: Remembering, runtime_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts listens all the same, and leaves old sockets to the next one."""
    monkeypatch.setattr(folders, "_LOCK_SECONDS", 0.1)
    runtime_folder.mkdir(0o700)
    left = runtime_folder / "00000000-0000-0000-0000-000000000000.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    held = os.open(runtime_folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with ControlServer(RUN, controlled), ControlClient(RUN) as client:
        assert client.request("status")
        assert left.exists()
    os.close(held)
    with ControlServer(RUN, controlled):
        assert not left.exists()


@pytest.mark.parametrize("run_id", ["", "../run", "a/b", "x" * 65, "run\n"])
def test_an_identity_that_is_no_name_is_refused(run_id: str, controlled: Remembering) -> None:
    with pytest.raises(ControlError, match="is no identity of a run"):
        ControlServer(run_id, controlled)
    (where().parent / "forebay").mkdir(mode=0o700)
    with pytest.raises(ControlError, match="is no identity of a run"):
        ControlClient(run_id)


def test_a_folder_without_sockets_has_no_acquisition(runtime_folder: Path) -> None:
    for path in (runtime_folder / "no.sock", runtime_folder / "no" / "folder.sock"):
        with pytest.raises(ControlError, match="no acquisition of this user"):
            ControlClient(path)
    with socket.socket(socket.AF_UNIX) as bound:
        runtime_folder.mkdir(mode=0o700)
        bound.bind(str(runtime_folder / f"{RUN}.sock"))
        with pytest.raises(ControlError, match="no acquisition of this user"):
            ControlClient(RUN)
