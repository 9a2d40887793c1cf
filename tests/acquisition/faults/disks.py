"""File systems of a test's own: small, in memory, or in an image that can be copied at any time."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MAKING = {
    "ext4": (["mkfs.ext4", "-q", "-F"], "commit=300"),
    "xfs": (["mkfs.xfs", "-q"], "nouuid"),
}
"""What makes a file system in an image, and how it is mounted."""
SIZE = "1G"
"""Length of an image; it takes only the room of what is written."""


@contextlib.contextmanager
def mounted(source: str | Path, at: Path, *, kind: str, options: str) -> Iterator[Path]:
    """Mount a file system for the time of the block; skip the test where that is not permitted."""
    at.mkdir(exist_ok=True)
    command = ["mount", "-t", kind, "-o", options, str(source), str(at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system of its own may not be mounted here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        unmount(at)


def unmount(at: Path) -> None:
    """Unmount a file system, once nobody has anything of it open any more."""
    deadline = time.monotonic() + 20
    while (
        done := subprocess.run(["umount", str(at)], capture_output=True, text=True, check=False)
    ).returncode:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.1)


def in_memory(at: Path, *, megabytes: int) -> contextlib.AbstractContextManager[Path]:
    """Mount a small file system in memory for the time of the block."""
    return mounted("forebay-test", at, kind="tmpfs", options=f"size={megabytes}m")


def make_image(path: Path, kind: str, *options: str) -> Path:
    """Make a file with an empty file system in it."""
    subprocess.run(["truncate", "--size", SIZE, str(path)], check=True)
    subprocess.run([*MAKING[kind][0], *options, str(path)], check=True)
    return path


def mounted_image(image: Path, at: Path, kind: str) -> contextlib.AbstractContextManager[Path]:
    """Mount the file system of an image for the time of the block."""
    return mounted(image, at, kind=kind, options=f"loop,{MAKING[kind][1]}")


def copy_of(image: Path, path: Path) -> Path:
    """Copy an image: what a power cut would leave now, if nothing is on its way to it."""
    subprocess.run(["cp", "--sparse=always", str(image), str(path)], check=True)
    return path
