"""Recordings that are killed, and going on with them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np

from forebay.acquisition import Frame, Geometry, ImageMetadata, open_run, verify_run
from forebay.acquisition.service.prepare import prepare_again
from forebay.acquisition.settings import AcquisitionSettings

SHAPE = (6, 4)

KILLED = """
import json, os, signal, sys
import numpy as np
from pathlib import Path
from forebay.acquisition import Frame, Geometry, ImageMetadata, open_run
from forebay.acquisition.journal.journal import FrameJournal
from forebay.acquisition.journal.row import Room
from forebay.acquisition.ring.ring import FrameRing
from forebay.acquisition.service.prepare import prepare, prepare_again
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.storage.folder import FolderStorage

Room.__init__.__defaults__ = (2**32, 2**20, 2)
path, changes = sys.argv[1:3]
first, last, frozen = map(int, sys.argv[3:])
settings = {"frames_per_block": 4, "buffer_bytes": 1, "blocks_in_flight": 2, **json.loads(changes)}
rings, journals, stood = [], [], []

def note(kind, made):
    make = kind.__init__

    def noted(self, *args, **options):
        make(self, *args, **options)
        made.append(self)

    kind.__init__ = noted

note(FrameRing, rings)
note(FrameJournal, journals)

def safe():
    if any(ring.waiting for ring in rings) or (frozen >= 0 and not stood):
        return False
    blocks = stood[0] if frozen >= 0 else (last - first) // 4
    if open_run(path).history.frames < 4 * blocks:
        return False
    if last and Path(path + ".raw").exists() and open_run(path + ".raw").history.frames < 4:
        return False
    return frozen >= 0 or all(each.counts()[1] >= last - first for each in journals)

publish = FolderStorage.publish

def standing_still(self, objects):
    import threading
    blocks = {int(each.key.partition("/c.")[2].split(".")[0]) for each in objects}
    if frozen in blocks:
        # Those before it in one go with it stand still, too.
        stood.append(min(blocks))
        threading.Event().wait()
    publish(self, objects)

if frozen >= 0:
    FolderStorage.publish = standing_still

class Camera:
    geometry = Geometry(("y", "x"), (6, 4), np.dtype("uint16"))
    metadata = ImageMetadata(exposure=settings.pop("exposure", None))
    can_wait = False
    def frames(self):
        import threading
        for counter in range(first, 10_000):
            if counter == last:
                while not safe():
                    threading.Event().wait(0.001)
                os.kill(os.getpid(), signal.SIGKILL)
            # A ring that is full would drop what comes.
            while any(ring.waiting > 2 or ring.depth == ring.slots for ring in rings):
                threading.Event().wait(0.001)
            yield Frame(counter, counter, np.full((6, 4), counter, "u2"))
    def stop(self): pass
    def __enter__(self): return self
    def __exit__(self, *exc): pass

begin = prepare if first == 0 else prepare_again
begin(Camera(), path, settings=AcquisitionSettings.model_validate(settings)).run()
"""

type Killed = Callable[..., None]


class Camera:
    """Goes on from a counter."""

    def __init__(self, first: int, frames: int, shape: tuple[int, int] = SHAPE) -> None:
        self.geometry = Geometry(("y", "x"), shape, np.dtype("uint16"))
        self.metadata = ImageMetadata()
        self.can_wait = True
        self._counters = range(first, first + frames)

    def frames(self) -> Iterator[Frame]:
        for counter in self._counters:
            yield Frame(counter, counter, np.full(self.geometry.shape, counter, "u2"))

    def stop(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


def check(path: Path, *, lost: list[int], upto: int, pixels: int = 1) -> None:
    """All counters up to `upto` are in the run, with their pixels, but the `lost` ones."""
    run = open_run(path)
    assert run.closed
    assert verify_run(run).ok
    taken = run.frames.frame_id.to_numpy().tolist()
    assert taken == [counter for counter in range(upto) if counter not in lost]
    np.testing.assert_array_equal(run.frames.to_numpy()[:, 0, 0], np.array(taken) * pixels)
    dropped = [n for each in run.dropped for n in range(each.first, each.last + 1)]
    assert sorted(dropped) == lost
    control = path / "_forebay"
    assert not list((control / "aside").iterdir())
    assert not list(control.glob("journal/*"))


def go_on(path: Path, camera: Camera, **changes: Any) -> None:
    settings = AcquisitionSettings.model_validate({"buffer_bytes": 1, **changes})
    prepare_again(camera, path, settings=settings).run()
