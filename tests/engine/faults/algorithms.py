"""An algorithm that does harm at one frame; services load it as a file."""

import ctypes
import os
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from forebay.engine import REGISTRY, Algorithm


def harmful(
    frames: xr.DataArray, *, log: str, seconds: float = 0.0, harm: str = "", at: int = -1
) -> pd.DataFrame | str:
    """Measure each frame, and do `harm` in the unit that begins with the frame `at`."""
    first = int(frames.t[0])
    _note(log, "begin", first)
    if first == at:
        if harm == "return":
            return "this is no table"
        _HARM[harm]()
    time.sleep(seconds)
    pixels = frames.to_numpy().astype(np.float64)
    table = pd.DataFrame(
        {
            "t": frames.t.to_numpy(),
            "mean": pixels.mean((1, 2)),
            "spread": np.sqrt(pixels.var((1, 2)) + 1 / 3),
        }
    )
    _note(log, "end", first)
    return table


def _note(log: str, what: str, first: int) -> None:
    """Note what this process is at, in one write, so that a kill does not take it away."""
    with Path(log).open("ab", buffering=0) as file:
        file.write(f"{what} {os.getpid()} {first}\n".encode())


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail() -> None:
    raise ValueError("this frame is too dark")


def _sleep() -> None:
    time.sleep(10_000)


def _leak() -> None:
    kept = []
    while True:
        kept.append(np.ones(8 << 20))
        time.sleep(0.02)


def _fork() -> None:
    """Leave a child behind, which has all that is open here."""
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)


def _hold_the_interpreter() -> None:
    """Let no other thread of this process run, as a call into C may."""
    ctypes.PyDLL(None).usleep(3_000_000)


_HARM = {
    "die": _die,
    "fail": _fail,
    "sleep": _sleep,
    "leak": _leak,
    "fork": _fork,
    "hold": _hold_the_interpreter,
}

HARMFUL = Algorithm("harmful", "1.0.0", harmful)
if __name__.startswith("forebay_file_"):
    REGISTRY.add(HARMFUL)
