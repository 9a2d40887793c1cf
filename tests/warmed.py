"""Commands in processes that are forked from one that has imported all of forebay.

Its imports are most of what a short command costs.  ``python -m tests.warmed SOCKET`` is the
process that forks, until its standard input ends; with words of pytest behind it, it imports the
tests that these collect, too, so that each worker of pytest-xdist need not.  `programs` makes
stand-ins for ``forebay``, for ``python -m MODULE``, for ``python -W error`` or ``-W ignore`` with
that or with a script, and for the workers of pytest-xdist, that ask it: they hand over what a
process is given, pass on the signals that they get, and end as the command does; any other
``python`` is the real one.  What the workers of such
a command are forked from is forked in the same way.  A test that asks how a program is found, what it
imports, or what happens to its process group starts the real one, too; one that asks for the
processes that a command starts names a file in TOLD, to which the command writes its process id, and
then leads a session as if it were the real one.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import multiprocessing
import multiprocessing.process
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dask
import pytest
from execnet.gateway_io import popen_bootstrapline

import forebay
from forebay.cli.app import commands

ROOT = Path(__file__).parents[1]
_LONGEST_REQUEST = 2**20
_FORKING = "from multiprocessing.forkserver import main; "
_DESCRIPTORS = 5
_ABOVE = 64
"""Descriptors of a command are below."""
TOLD = "FOREBAY_TESTS_TOLD"
"""Environment variable with the file that a command is to write its process id to."""
_PATIENCE = 500.0

# It imports next to nothing, for that is its point.
_STAND_IN = """\
#!{python} -IS
import os, sys
words, warnings, module, code = sys.argv[1:], None, None, None
script, handed = {script!r}, [0, 1, 2]
if script is None and words[-2:-1] == ["-c"] and {forking!r} in words[-1]:
    script, words, code = "-c", [], words[-1]
    handed += map(int, code.partition("main(")[2].split(", ")[:2])
elif script is None and words == {testing!r}:
    script, words, code = "-c", [], words[-1]
elif script is None:
    if words[:1] == ["-W"] and words[1:2] in (["error"], ["ignore"]) and words[2:3] not in ([], ["-c"]):
        warnings, words = words[1], words[2:]
    elif words[:1] != ["-m"]:
        os.execv({python!r}, [{python!r}, *words])
    if words[0] == "-m":
        script, module, words = "-m", words[1], words[2:]
    else:
        script, words = words[0], words[1:]
import json, select, signal, socket
channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
passed_on = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
ignored = [int(each) for each in passed_on if signal.getsignal(each) == signal.SIG_IGN]
# They wait until they can be passed on.
blocked = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
channel.connect({server!r})
for each in passed_on:
    if each not in ignored:
        signal.signal(each, lambda *_: None)
request = dict(
    script=script, module=module, code=code, words=words, warnings=warnings, ignored=ignored,
    blocked=[*map(int, blocked)], numbers=handed,
    folder=os.getcwd(), environment=dict(os.environ), python={own!r},
    network="/proc/%d/ns/net" % os.getpid(),
)
channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {longest})
socket.send_fds(channel, [json.dumps(request).encode()], handed)
# Python sends a signal's number at once, also one that comes just before a call that waits.
channel.setblocking(False)
signal.set_wakeup_fd(channel.fileno(), warn_on_full_buffer=False)
signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
select.select([channel], [], [])
ended = int(channel.recv(16) or b"70")
if ended < 0:
    signal.signal(-ended, signal.SIG_DFL) if -ended != signal.SIGKILL else None
    os.kill(os.getpid(), -ended)
os._exit(ended)
"""


@contextlib.contextmanager
def programs(folder: Path, collect: Sequence[str] = ()) -> Iterator[Path]:
    """Make a folder with the stand-ins; its path must be a short one.

    They work until the end, and from when `wait_for` it has ended.  With words of pytest, what
    these collect is imported as well.
    """
    server = folder / "warmed"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.warmed", str(server), *collect],
        cwd=ROOT,
        env={
            **os.environ,
            # Who has threads cannot fork.
            "OPENBLAS_NUM_THREADS": "1",
            "JE_ARROW_MALLOC_CONF": "background_thread:false",
        },
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin
        (own := folder / "bin").mkdir()
        installed = Path(sys.executable).parent / "forebay"
        for name, script in (("forebay", str(installed)), ("python", None)):
            (program := own / name).write_text(
                _STAND_IN.format(
                    python=sys.executable,
                    script=script,
                    server=str(server),
                    own=str(own / "python"),
                    forking=_FORKING,
                    testing=["-u", "-c", popen_bootstrapline],
                    longest=_LONGEST_REQUEST,
                )
            )
            program.chmod(0o755)
        yield own
        process.stdin.close()
        assert process.wait(30) == 0


def wait_for(own: Path) -> None:
    """Wait until the stand-ins in a folder work."""
    server, deadline = own.parent / "warmed", time.monotonic() + _PATIENCE
    while not server.exists():
        assert time.monotonic() < deadline, f"there is no {server} after {_PATIENCE:g} s"
        time.sleep(0.01)


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a process is given."""

    script: str
    """The Python that it runs, unless it is a module or code."""
    module: str | None
    code: str | None
    words: list[str]
    warnings: str | None
    """What becomes of a warning."""
    ignored: list[int]
    """Signals that it is not to notice."""
    blocked: list[int]
    """Signals that wait."""
    numbers: list[int]
    """What its descriptors are to be."""
    folder: str
    environment: dict[str, str]
    python: str
    """The stand-in for Python."""
    network: str
    """The network namespace that it is in."""

    def run(self, descriptors: list[int]) -> None:
        """Run it in this process."""
        above = [fcntl.fcntl(each, fcntl.F_DUPFD, _ABOVE) for each in descriptors]
        for each in descriptors:
            os.close(each)
        for to, each in zip(self.numbers, above, strict=True):
            os.dup2(each, to)
            os.close(each)
        # The old ones remember what their files could do, for example seek.
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self.blocked)
        if not Path(self.network).samefile("/proc/self/ns/net"):
            with Path(self.network).open("rb") as network:
                os.setns(network.fileno(), os.CLONE_NEWNET)
        os.chdir(self.folder)
        # Whoever spawns processes looks for the script there.
        multiprocessing.process.ORIGINAL_DIR = self.folder  # type: ignore[attr-defined]
        os.environ.clear()
        os.environ.update(self.environment)
        if any(name.startswith("DASK_") for name in self.environment):
            # Those of the process that forks were read when it imported Dask.
            dask.config.refresh()
        if told := os.environ.pop(TOLD, None):
            os.setsid()
            Path(f"{told}-").write_text(str(os.getpid()))
            Path(f"{told}-").rename(told)
        else:
            os.setpgid(0, 0)
            multiprocessing.set_executable(self.python)
        if self.warnings == "error":
            sys.warnoptions[:] = ["error"]
            warnings.simplefilter("error")
        elif self.warnings == "ignore":
            sys.warnoptions[:] = ["ignore"]
            warnings.simplefilter("ignore")
        sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        sys.argv = [self.script, *self.words]
        if self.code:
            # Without a file: whoever spawns processes has them import that of `__main__`.
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(self.code, sys.modules["__main__"].__dict__)
            return
        if self.module:
            sys.path[0] = self.folder
            # Who runs a module that a test has imported is warned.
            sys.modules.pop(self.module, None)
            runpy.run_module(self.module, run_name="__main__", alter_sys=True)
            return
        sys.path[0] = str(Path(self.script).absolute().parent)
        main = types.ModuleType("__main__")
        main.__file__ = self.script
        sys.modules["__main__"] = main
        exec(compile(Path(self.script).read_bytes(), self.script, "exec"), main.__dict__)


class _Forks:
    """The commands that run, by what tells of them: the stand-in's channel, and the process."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)

    def serve(self) -> tuple[Command, list[int]] | None:
        """Fork for each request; return what to do in the forked process, and at the end None."""
        while True:
            for key, _ in self._selector.select():
                if self._selector.get_map().get(key.fd) is not key:
                    # It has ended by what came before.
                    continue
                if key.fd == 0:
                    for other in [*self._selector.get_map().values()]:
                        if isinstance(other.data, _Running):
                            other.data.signal(signal.SIGKILL)
                    return None
                if key.fileobj is self._listener:
                    if given := self._fork():
                        return given
                elif isinstance(running := key.data, _Running):
                    if key.fd == running.process:
                        self._end(running)
                    else:
                        running.pass_on()

    def _fork(self) -> tuple[Command, list[int]] | None:
        channel, _ = self._listener.accept()
        message, descriptors, _, _ = socket.recv_fds(channel, _LONGEST_REQUEST, _DESCRIPTORS)
        if number := os.fork():
            for each in descriptors:
                os.close(each)
            running = _Running(number, os.pidfd_open(number), channel)
            self._selector.register(channel, selectors.EVENT_READ, running)
            self._selector.register(running.process, selectors.EVENT_READ, running)
            return None
        channel.close()
        for key in [*self._selector.get_map().values()]:
            if key.fd:
                os.close(key.fd)
        self._selector.close()
        # Its socket is closed already.
        self._listener.detach()
        return Command(**json.loads(message)), descriptors

    def _end(self, running: "_Running") -> None:
        _, status = os.waitpid(running.number, 0)
        self._selector.unregister(running.channel)
        self._selector.unregister(running.process)
        os.close(running.process)
        with contextlib.suppress(OSError), running.channel:
            running.channel.send(str(os.waitstatus_to_exitcode(status)).encode())


@dataclass(frozen=True)
class _Running:
    number: int
    process: int
    channel: socket.socket

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.number, number)

    def pass_on(self) -> None:
        """Pass on a signal that the stand-in has got; if it is killed, the command is too."""
        try:
            number = self.channel.recv(1)
        except ConnectionError:
            number = b""
        self.signal(number[0] if number else signal.SIGKILL)


_BESIDES = (
    "alembic.command",
    "array_api_strict",
    "dask.dataframe",
    "distributed.cli.dask_scheduler",
    "distributed.cli.dask_worker",
    "matplotlib.pyplot",
    "psycopg",
    "scipy.stats",
    "skimage.restoration",
    "trackpy",
    "xdist.remote",
)
"""What else commands and tests need, and what takes long to import."""


def _import_all() -> None:
    for module in pkgutil.walk_packages(forebay.__path__, "forebay."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for each in _BESIDES:
        importlib.import_module(each)
    commands()


def _collect(words: Sequence[str]) -> None:
    """Import what these words of pytest collect; what fails to import does so in each worker."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        pytest.main([*words, "--collect-only", "-n0"])


def main(path: str, collect: Sequence[str]) -> tuple[Command, list[int]] | None:
    _import_all()
    if collect:
        _collect(collect)
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "who has threads cannot fork"
    gc.collect()
    # What the collector does not look at is not copied for each command.
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # It has its name once it listens.
    listener.bind(f"{path}-")
    listener.listen()
    Path(f"{path}-").rename(path)
    os.dup2(2, 1)
    return _Forks(listener).serve()


def _end() -> None:
    """End as Python does, but leave the memory as it is.

    To take to pieces what so many modules have made takes longer than most commands, and copies it.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()


if __name__ == "__main__" and (given := main(sys.argv[1], sys.argv[2:])):
    try:
        given[0].run(given[1])
    except SystemExit as leaving:
        if leaving.code is not None and not isinstance(leaving.code, int):
            raise
        _end()
        os._exit(leaving.code or 0)
    _end()
    os._exit(0)
