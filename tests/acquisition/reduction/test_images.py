"""Images to correct with: where they may come from, and which are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import zarr
from PIL import Image

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction import ReductionChain, ReductionError, parse_step

CAMERA = Geometry(("y", "x"), (6, 8), np.dtype("uint16"))
COLOUR = Geometry(("c", "y", "x"), (3, 6, 8), np.dtype("uint16"))
DARK = np.arange(48, dtype=np.uint16).reshape(6, 8)


def write_hdf5(path: Path) -> None:
    """Write the image as a recording of one frame."""
    with h5py.File(path, "w") as file:
        file["entry/data"] = DARK[np.newaxis]


def write_zarr(path: Path) -> None:
    """Write the image as a recording of one frame."""
    array: Any = zarr.create_array(str(path), shape=(1, 6, 8), dtype="uint16")
    array[0] = DARK


WRITERS: dict[str, Callable[[Path], object]] = {
    "dark.npy": lambda path: np.save(path, DARK),
    "of_one_frame.npy": lambda path: np.save(path, DARK[np.newaxis]),
    "double.npy": lambda path: np.save(path, DARK.astype(np.float64)),
    "dark.tif": lambda path: tifffile.imwrite(path, DARK),
    "dark.png": lambda path: Image.fromarray(DARK.astype(np.uint8)).save(path),
    "dark.h5": write_hdf5,
    "dark.zarr": write_zarr,
}


def subtracted(path: Path, geometry: Geometry = CAMERA) -> npt.NDArray[Any]:
    """Return what is left of a frame of 100 everywhere."""
    chain = ReductionChain([parse_step(f"background:{path}")], geometry)
    out = np.empty(geometry.shape, geometry.dtype)
    assert chain.apply(np.full(geometry.shape, 100, np.uint16), out)
    return out


@pytest.mark.parametrize("name", WRITERS)
def test_an_image_comes_from_any_file_that_frames_come_from(name: str, tmp_path: Path) -> None:
    """The image is read, whatever its type, and subtracted."""
    WRITERS[name](tmp_path / name)

    np.testing.assert_array_equal(subtracted(tmp_path / name), 100 - DARK)


def test_an_image_serves_all_channels_or_has_them(tmp_path: Path) -> None:
    """One of (y, x) is taken for each channel; one of (c, y, x) has its own for each."""
    np.save(tmp_path / "one.npy", DARK)
    np.save(tmp_path / "three.npy", np.stack([DARK, 0 * DARK, DARK + 1]))

    shared = subtracted(tmp_path / "one.npy", COLOUR)
    own = subtracted(tmp_path / "three.npy", COLOUR)

    np.testing.assert_array_equal(shared, np.stack([100 - DARK] * 3))
    np.testing.assert_array_equal(own, [100 - DARK, np.full((6, 8), 100), 99 - DARK])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (DARK[:5], "is 5 × 8, but the frames that come to this step are 6 × 8"),
        (np.stack([DARK, DARK]), "is 2 × 6 × 8"),
        (np.uint16(5), "is a single number"),
        (DARK > 5, "has pixels of bool"),
        (DARK * 1j, "has pixels of complex128"),
        (np.where(DARK == 3, np.nan, DARK), "has pixels that are NaN or infinite"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(values: Any, message: str, tmp_path: Path) -> None:
    """The error names the step, the file and both sizes."""
    np.save(tmp_path / "dark.npy", values)

    with pytest.raises(ReductionError, match="step 1, background:.*" + message):
        subtracted(tmp_path / "dark.npy")


def test_the_size_that_counts_is_that_at_the_step(tmp_path: Path) -> None:
    """Behind a binning an image has to be of the binned size."""
    np.save(tmp_path / "dark.npy", DARK)
    steps = [parse_step("bin:2"), parse_step(f"background:{tmp_path / 'dark.npy'}")]

    with pytest.raises(ReductionError, match=r"step 2, .* 6 × 8, but the frames .* are 3 × 4"):
        ReductionChain(steps, CAMERA)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.npy", None, "it is not there"),
        ("missing.tif", None, "does not exist"),
        ("text.npy", b"no array", "cannot read"),
        ("dark.txt", b"1 2 3", "the suffix .txt, which is not known"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    """The error names the step and the file."""
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(SourceError, match=f"step 1, background:.*{message}"):
        subtracted(tmp_path / name)


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    """An array of objects could run code; it is refused."""
    np.save(tmp_path / "dark.npy", np.array([[{}]]), allow_pickle=True)

    with pytest.raises(SourceError, match="cannot read"):
        subtracted(tmp_path / "dark.npy")


def test_several_frames_are_no_image(tmp_path: Path) -> None:
    """Which of them would it be?"""
    tifffile.imwrite(tmp_path / "two.tif", np.stack([DARK, DARK]), photometric="minisblack")

    with pytest.raises(ReductionError, match="holds 2 frames; give a file with one"):
        subtracted(tmp_path / "two.tif")


@pytest.mark.parametrize("flat", [DARK * 0, DARK.astype(float) * np.nan])
def test_a_flat_image_without_light_is_refused(flat: Any, tmp_path: Path) -> None:
    """A field in which no pixel is brighter than the dark image cannot be a flat."""
    np.save(tmp_path / "flat.npy", flat)

    with pytest.raises(ReductionError, match="no pixel of the flat image is brighter"):
        ReductionChain([parse_step(f"flat-field:{tmp_path / 'flat.npy'}")], CAMERA)
