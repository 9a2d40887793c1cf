"""Profilers that may be on this machine, and how each of them runs a program."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forebay.cluster.node.errors import ProfilerError
from forebay.cluster.node.profiling.stacks import Stack, folded, from_perf

_RATE = "99"
"""Samples in a second: not in step with what is done every hundredth of one."""


@dataclass(frozen=True, slots=True)
class Profiler:
    """A program that watches another one."""

    name: str
    """What it is called."""
    install: str
    """Where it comes from."""
    command: Callable[[str, Path, Sequence[str]], list[str]]
    """Makes the words that start it: of its path, of the file to write, of the program."""
    read: Callable[[str, Path, tuple[float, float]], "dict[Stack, int]"] | None
    """Reads the stacks of a time from the file that it has written; None where it draws itself."""
    ending: str
    """How the name of its result ends."""
    rest: str = ""
    """What it has seen that was not called by the program."""
    python: tuple[str, ...] = ()
    """Options of Python that it needs."""
    hint: str = ""
    """What to do if it is refused."""


def _py_spy(program: str, raw: Path, words: Sequence[str]) -> list[str]:
    options = ["--format", "raw", "--rate", _RATE, "--function", "--output", str(raw)]
    return [program, "record", *options, "--", *words]


def _perf(program: str, raw: Path, words: Sequence[str]) -> list[str]:
    # The clock is the program's own, so that its beginning can be left out.
    options = ["--freq", _RATE, "--clockid", "mono", "-g", "--output", str(raw)]
    return [program, "record", *options, "--", *words]


def _nsys(program: str, raw: Path, words: Sequence[str]) -> list[str]:
    # It puts the ending there by itself.
    output = str(raw).removesuffix(".nsys-rep")
    options = ["--trace", "cuda,nvtx,osrt", "--force-overwrite", "true", "--output", output]
    return [program, "profile", *options, *words]


def _read_raw(_program: str, raw: Path, _during: tuple[float, float]) -> dict[Stack, int]:
    return folded(raw.read_text(errors="backslashreplace"))


def _read_perf(program: str, raw: Path, during: tuple[float, float]) -> dict[Stack, int]:
    ended = _run([program, "script", "--input", str(raw)])
    if ended.returncode:
        raise ProfilerError(f"perf script cannot read what it recorded: {_last_line(ended.stderr)}")
    return from_perf(ended.stdout, during)


PROFILERS = (
    Profiler(
        name="py-spy",
        install="pip install 'forebay[profile]'",
        command=_py_spy,
        read=_read_raw,
        ending=".svg",
        rest="other threads",
        hint="it has to be allowed to look into its child: kernel.yama.ptrace_scope below 2, in a "
        "container the capability SYS_PTRACE",
    ),
    Profiler(
        name="perf",
        install="the package linux-perf (Debian), linux-tools (Ubuntu) or perf (Fedora)",
        command=_perf,
        read=_read_perf,
        ending=".svg",
        rest="other threads, and callers that perf could not find",
        python=("-X", "perf"),
        hint="kernel.perf_event_paranoid has to be 2 or less, in a container the capability PERFMON",
    ),
    Profiler(
        name="nsys",
        install="Nsight Systems, a package of NVIDIA's CUDA repository",
        command=_nsys,
        read=None,
        ending=".nsys-rep",
    ),
)
"""All that are known, the one to take where none is named first."""


def found(name: str | None) -> tuple[Profiler, str]:
    """Return a profiler that is here, and the path of its program.

    Parameters
    ----------
    name
        Its name; the first that is here and draws a flame graph if not given.

    Raises
    ------
    ProfilerError
        If there is none.
    """
    wanted = [each for each in PROFILERS if each.name == name or (name is None and each.read)]
    if not wanted:
        known = ", ".join(each.name for each in PROFILERS)
        raise ProfilerError(f"there is no profiler {name!r}; there are {known}")
    for each in wanted:
        if program := _program(each.name):
            return each, program
    missing = " or ".join(f"{each.name} ({each.install})" for each in wanted)
    raise ProfilerError(f"{wanted[0].name} is not there: install {missing}")


def record(
    profiler: Profiler, program: str, script: Path, arguments: Sequence[str], raw: Path
) -> None:
    """Run a script of Python under a profiler, which writes what it has seen.

    Parameters
    ----------
    profiler
        The profiler.
    program
        The path of its program.
    script
        The script.
    arguments
        The script's arguments.
    raw
        The file to write.

    Raises
    ------
    ProfilerError
        If it fails, or writes nothing.
    """
    words = [sys.executable, *profiler.python, str(script), *arguments]
    ended = _run(profiler.command(program, raw, words))
    if ended.returncode or not raw.is_file():
        said = _last_line(ended.stderr) or _last_line(ended.stdout) or "it says nothing"
        hint = f"; {profiler.hint}" if profiler.hint else ""
        raise ProfilerError(f"{profiler.name} ends with code {ended.returncode}: {said}{hint}")


def _program(name: str) -> str | None:
    # Beside this interpreter, where a virtual environment is not the one in PATH.
    own = Path(sys.executable).parent
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{own}")


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 (a profiler, with words of this package)
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
        )
    except OSError as error:
        raise ProfilerError(f"{words[0]} cannot be run: {error.strerror}") from error


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
