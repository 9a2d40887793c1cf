# /// script
# requires-python = ">=3.12"
# dependencies = ["forebay"]
# ///
"""Push frames from a program of its own into a recording.

``forebay acquire`` listens at an endpoint on this machine. Another program, here a simulated
microscope, connects to it and sends its frames; when it says that there are no more, the run is
closed.

    python examples/push_frames.py [FOLDER]
"""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import forebay
from forebay.acquisition.sources import FrameSender, Scene, SimulatedSource


def push(endpoint: str) -> None:
    """Send forty frames, and wait while the recorder does not keep up."""
    with (
        SimulatedSource(Scene(shape=(256, 256), emitters=20), frames=40) as detector,
        FrameSender(endpoint, timeout=60, checksum=True) as sender,
    ):
        sender.begin(detector.geometry, forebay.ImageMetadata(instrument={"detector": "D-12"}))
        for frame in detector.frames():
            sender.send(frame)


def record(folder: Path) -> None:
    """Record into `folder` what is pushed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    acquire = [sys.executable, "-m", "forebay", "acquire", f"network:{endpoint}", "pushed"]
    with subprocess.Popen([*acquire, "--runs", folder, "--frames-per-block", "10"]) as recorder:
        push(endpoint)
        recorder.wait(timeout=60)
    run = forebay.open_run(folder / "pushed")
    print(f"{run.frames.sizes['t']} frames were pushed, {len(run.dropped)} were lost on their way")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            record(Path(temporary))
