"""Writes one block of a run and serves its control socket until it is asked to stop.

``serving.py PATH`` prints the run's identity once the socket is there.
"""

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition.control import ClosedEvent, CommittedEvent, ControlServer, NotedEvent
from forebay.acquisition.errors import AcquisitionError

AT = 1_790_000_000_000_000_000
GEOMETRY = Geometry(("y", "x"), (3, 4), np.dtype("uint8"))


class Recording:
    def __init__(self, writer: RunWriter) -> None:
        self.writer = writer
        self.reason: str | None = None
        self.stopped = threading.Event()
        self.server: ControlServer | None = None

    def status(self) -> Mapping[str, Any]:
        return {"flow": "normal", "committed": 2, "latency_seconds": {"median": 0.004}}

    def stop(self, reason: str) -> None:
        self.reason = reason
        self.stopped.set()

    def start(self) -> None:
        raise AcquisitionError("the acquisition has begun already")

    def note(self, topic: str, text: str) -> None:
        assert self.server is not None
        self.server.announce(NotedEvent(topic=topic, text=text, counter=2, at=AT))

    def reduce(self, level: int, seconds: float) -> None:
        raise AcquisitionError("no reductions are declared for times of overload")

    def finish(self) -> None:
        """Close the run when it is to be stopped, or when nobody has asked for long."""
        assert self.server is not None
        self.stopped.wait(60)
        self.writer.close(reason=str(self.reason))
        self.server.announce(ClosedEvent(reason=str(self.reason)))


@contextmanager
def serving(path: Path) -> Iterator[Recording]:
    """Write one block of a run, and serve its socket within the block."""
    writer = RunWriter.create(path, GEOMETRY, frames_per_block=2)
    for counter in range(2):
        writer.append(Frame(counter, counter, np.zeros((3, 4), "uint8")))
    recording = Recording(writer)
    standing = CommittedEvent(blocks=1, frames=2, dropped=0, counted=2)
    with ControlServer(writer.layout.run_id, recording, standing=standing) as server:
        recording.server = server
        yield recording


if __name__ == "__main__":
    with serving(Path(sys.argv[1])) as recording:
        print(recording.writer.layout.run_id, flush=True)
        recording.finish()
