"""The promises of a frame source: kept by ours, and missed by sources that break them."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from forebay.acquisition import Frame, FrameFlag, FrameSource, Geometry, ImageMetadata
from forebay.acquisition.sources import open_source
from forebay.acquisition.sources.testing import check_source

STACK = np.random.default_rng(1).integers(0, 99, (9, 6, 8)).astype("uint8")


def folder(path: Path) -> None:
    path.mkdir()
    for number, pixels in enumerate(STACK):
        Image.fromarray(pixels).save(path / f"{number}.png")


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = STACK


RECORDINGS: dict[str, Callable[[Path], Any]] = {
    "folder": folder,
    "a.tif": lambda path: tifffile.imwrite(path, STACK, photometric="minisblack"),
    "a.npy": lambda path: np.save(path, STACK),
    "a.h5": hdf5,
    "a.zarr": lambda path: zarr.create_array(path, data=STACK),
}


@pytest.mark.parametrize("rate", [None, 200.0, 0.01])
@pytest.mark.parametrize("frames", [None, 10**6])
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_replay_keeps_the_promises(
    name: str, rate: float | None, frames: int | None, tmp_path: Path
) -> None:
    """Every format, once and over and over, fast, steady, and waiting for its next frame."""
    RECORDINGS[name](tmp_path / name)
    looked_at = 2 if rate == 200.0 else 1 if rate else 8
    found = check_source(
        lambda: open_source(str(tmp_path / name), rate=rate, frames=frames), frames=looked_at
    )
    assert found == ()


@pytest.mark.parametrize("rate", [None, 200.0, 0.01])
@pytest.mark.parametrize("text", ["emitters=3", "lost_fraction=0.1", "bits=1,offset=9,diffusion=1"])
def test_a_simulated_camera_keeps_the_promises(text: str, rate: float | None) -> None:
    """With lost and with saturated frames; endless as it is."""
    text = f"simulated:shape=16x16,seed=3,{text}"
    found = check_source(lambda: open_source(text, rate=rate), frames=1 if rate == 0.01 else 5)
    assert found == ()


class Camera:
    """A source of ten frames that keeps every promise; the ones below break one each."""

    geometry = Geometry(("y", "x"), (2, 3), np.dtype("uint8"))
    metadata = ImageMetadata()
    can_wait = True

    def __init__(self) -> None:
        self.stopped = False

    def frame(self, counter: int) -> Frame:
        return Frame(counter, counter + 1, np.zeros((2, 3), np.uint8))

    def frames(self) -> Iterator[Frame]:
        for counter in range(10):
            if self.stopped:
                return
            yield self.frame(counter)

    def stop(self) -> None:
        self.stopped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class Backwards(Camera):
    def frame(self, counter: int) -> Frame:
        return Frame(9 - counter, counter, np.zeros((2, 3), np.uint8))


class Timeless(Camera):
    def frame(self, counter: int) -> Frame:
        return Frame(counter, 5, np.zeros((2, 3), np.uint8))


class Shapeless(Camera):
    def frame(self, counter: int) -> Frame:
        return Frame(counter, counter, np.zeros((2, 3 + counter), np.uint8))


class Typeless(Camera):
    def frame(self, counter: int) -> Frame:
        return Frame(counter, counter, np.zeros((2, 3), np.uint16))


class Flagless(Camera):
    def frame(self, counter: int) -> Frame:
        return Frame(counter, counter, np.zeros((2, 3), np.uint8), 0)  # type: ignore[arg-type]


class Listed(Camera):
    def frame(self, counter: int) -> Frame:
        return Frame(counter, counter, [[0]])  # type: ignore[arg-type]


class Silent(Camera):
    def frames(self) -> Iterator[Frame]:
        return iter(())


class Unstoppable(Camera):
    def stop(self) -> None:
        """Take no notice."""


class Stuck(Camera):
    def frames(self) -> Iterator[Frame]:
        yield self.frame(0)
        if not self.stopped:
            threading.Event().wait(1.0)


class Unfreed(Camera):
    def __exit__(self, *exc_info: object) -> None:
        """Free nothing."""


class Fragile(Camera):
    left = False

    def __exit__(self, *exc_info: object) -> None:
        if self.left:
            raise OSError("closed twice")
        self.stop()
        self.left = True


class Axisless(Camera):
    geometry = Geometry(("x", "y"), (2, 3), np.dtype("uint8"))


class Swapped(Camera):
    geometry = Geometry(("y", "x"), (2, 3), np.dtype(">u2"))

    def frame(self, counter: int) -> Frame:
        return Frame(counter, counter, np.zeros((2, 3), ">u2"))


class Secretive(Camera):
    metadata = ImageMetadata(instrument={"camera": object()})


class Partial:
    geometry = Camera.geometry


def test_a_camera_that_keeps_the_promises_passes() -> None:
    """The sources below differ from it in one thing each."""
    assert check_source(Camera) == ()
    assert isinstance(Camera().frame(0).flags, FrameFlag)


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        (Backwards, "came after frame 9; counters must grow"),
        (Timeless, "timestamps must grow"),
        (Shapeless, "not as the geometry says"),
        (Typeless, "not as the geometry says"),
        (Flagless, "not FrameFlag"),
        (Listed, "is list, not a NumPy array"),
        (Silent, "no frame came"),
        (Unstoppable, "goes on delivering after stop()"),
        (Stuck, "it has not ended"),
        (Unfreed, "goes on delivering after the with block"),
        (Fragile, "raises after the with block"),
        (Axisless, "the axes are"),
        (Swapped, "not native numbers"),
        (Secretive, "are not JSON"),
        (Partial, "lacks a member of FrameSource"),
    ],
)
def test_a_broken_promise_is_found(camera: Callable[[], FrameSource], said: str) -> None:
    """And said in a sentence."""
    assert any(said in sentence for sentence in check_source(camera, seconds=0.2))
