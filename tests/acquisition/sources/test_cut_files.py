"""Recordings that were cut off: what is still there is delivered, then comes an error."""

import os
import struct
import subprocess
import sys
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
from forebay.acquisition.sources import ReplaySource
from forebay.acquisition.sources.readers.tiff_chain import Chain, read_chain

DATA = np.random.default_rng(0).integers(1, 60000, (5, 16, 20)).astype("uint16")
IRRELEVANT = ("Software", "XResolution", "YResolution", "DateTime")
type Pixels = npt.NDArray[Any]


def salvaged(path: Path) -> tuple[list[Pixels], str]:
    """Return the frames that come, and the error behind them."""
    frames: list[Pixels] = []
    try:
        with ReplaySource(path) as source:
            frames.extend(frame.data for frame in source.frames())
    except SourceError as error:
        return frames, str(error)
    return frames, ""


def pages(path: Path) -> None:
    with tifffile.TiffWriter(path) as tif:
        for page in DATA:
            tif.write(page, contiguous=False, photometric="minisblack", metadata=None)


def by_pillow(path: Path) -> None:
    first, *others = [Image.fromarray(page) for page in DATA]
    first.save(path, save_all=True, append_images=others)


def tiff(**options: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        tifffile.imwrite(path, DATA, photometric="minisblack", **options)

    return write


TIFFS = {
    "plain": tiff(),
    "bigtiff": tiff(bigtiff=True),
    "big-endian": tiff(byteorder=">"),
    "deflate": tiff(compression="zlib"),
    "tiles": tiff(tile=(16, 16)),
    "strips": tiff(rowsperstrip=4),
    "imagej": tiff(imagej=True, metadata={"axes": "TYX"}),
    "ome": tiff(ome=True, metadata={"axes": "TYX"}),
    "one page": tiff(truncate=True),
    "pages": pages,
    "pillow": by_pillow,
}


@pytest.mark.parametrize("write", TIFFS.values(), ids=TIFFS)
def test_a_tiff_file_cut_anywhere_gives_no_wrong_frame(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    """Frames that come are right; unless all come, an error of one line follows them."""
    whole, cut = tmp_path / "whole.tif", tmp_path / "cut.tif"
    write(whole)
    content = whole.read_bytes()
    for length in range(0, len(content), 23):
        cut.write_bytes(content[:length])
        frames, error = salvaged(cut)
        for number, pixels in enumerate(frames):
            np.testing.assert_array_equal(pixels, DATA[number])
        assert error or len(frames) == 5
        assert not error or (str(cut) in error and error.isprintable())
    frames, error = salvaged(whole)
    assert (len(frames), error) == (5, "")


@pytest.mark.parametrize("kind", ["deflate", "tiles", "pages", "pillow", "strips"])
def test_the_frames_before_the_cut_are_delivered(kind: str, tmp_path: Path) -> None:
    """Where each page has its pixels beside it, half of a file gives the frames of that half."""
    path = tmp_path / "half.tif"
    TIFFS[kind](path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    frames, error = salvaged(path)
    assert len(frames) == 2
    assert error.startswith("cannot read frame 2 of ")
    assert error.endswith("the file is cut off within it; check that it is whole, or copy it again")


@pytest.mark.parametrize("kind", ["strips", "tiles", "bigtiff", "big-endian", "pillow"])
def test_a_page_counts_when_all_that_describes_it_is_there(kind: str, tmp_path: Path) -> None:
    """Its tags, the values that lie elsewhere, and the link to the next page."""
    path, ends = tmp_path / "a.tif", []
    TIFFS[kind](path)
    with tifffile.TiffFile(path) as tif:
        link = struct.calcsize(tif.tiff.offsetformat)
        for page in tif.pages:
            assert isinstance(page, tifffile.TiffPage)
            tags = [tag for tag in page.tags if tag.name not in IRRELEVANT]
            values = [tag.valueoffset + tag.valuebytecount for tag in tags]
            count = len(page.tags) * tif.tiff.tagsize
            ends.append(max(page.offset + tif.tiff.tagnosize + count + link, *values))
    for length in range(path.stat().st_size, 7 if link == 4 else 15, -1):
        os.truncate(path, length)
        pages = next((n for n, end in enumerate(ends) if length < end), 5)
        assert read_chain(path) == Chain(pages, cut=pages < 5)


def test_only_the_error_tells_of_the_damage(tmp_path: Path) -> None:
    """What tifffile logs of a damaged file is not printed where nobody set up logging."""
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, DATA, photometric="minisblack")
    path.write_bytes(path.read_bytes()[:3000])
    program = (
        "import sys; from forebay.acquisition.sources import open_source as o\n"
        "try: list(o(sys.argv[1]).frames())\n"
        "except ValueError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert (ran.stdout.count("\n"), ran.stderr) == (1, "")


def test_channels_of_a_cut_tiff_file_are_not_taken_for_frames(tmp_path: Path) -> None:
    """Without its description nobody knows which plane is which."""
    path = tmp_path / "cut.tif"
    planes = np.stack([DATA, DATA], axis=1)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "TCYX"},
                     compression="zlib")  # fmt: skip
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert salvaged(path) == (
        [], f"{path} is cut off and its channels can no longer be told apart; copy the file again"
    )  # fmt: skip


def test_a_damaged_png_in_a_folder_ends_the_recording_there(tmp_path: Path) -> None:
    """Cut off, or with one byte changed; the frames before it are delivered."""
    for number, pixels in enumerate(DATA):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    damaged = tmp_path / "3.png"
    content = damaged.read_bytes()
    wrong_pixel = content[:200] + b"?" + content[201:]
    wrong_checksum = content[:-13] + bytes([content[-13] ^ 1]) + content[-12:]
    for changed in (content[:-20], content[:100], b"", wrong_pixel, wrong_checksum):
        damaged.write_bytes(changed)
        frames, error = salvaged(tmp_path)
        np.testing.assert_array_equal(frames, DATA[:3])
        assert error.startswith(f"cannot read frame 3 ({damaged}): ")
        assert error.isprintable()


def test_a_cut_npy_file_is_refused(tmp_path: Path) -> None:
    """The map of the file cannot be longer than the file."""
    path = tmp_path / "a.npy"
    np.save(path, DATA)
    content = path.read_bytes()
    for length in (0, 5, 60, 200, len(content) - 1):
        path.write_bytes(content[:length])
        frames, error = salvaged(path)
        assert (len(frames), error.isprintable()) == (0, True)
        assert error.startswith(f"cannot read {path}: ")


def test_a_cut_hdf5_file_is_refused(tmp_path: Path) -> None:
    """HDF5 keeps the length of its file."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = DATA
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 8):
        path.write_bytes(content[:length])
        frames, error = salvaged(path)
        assert (len(frames), error.isprintable()) == (0, True)
        assert error.startswith(f"cannot read {path}: ")


def test_a_damaged_chunk_of_a_zarr_array_ends_the_recording_there(tmp_path: Path) -> None:
    """The chunks before it are delivered."""
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=DATA, chunks=(1, 16, 20))
    chunk = path / "c" / "2" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    frames, error = salvaged(path)
    np.testing.assert_array_equal(frames, DATA[:2])
    assert error.startswith(f"cannot read frame 2 of {path}: ")
    assert error.isprintable()


def test_a_chunk_that_is_missing_from_a_run_is_an_error(tmp_path: Path) -> None:
    """In a run a missing block is damage; in another Zarr array it reads as the fill value."""
    from forebay.acquisition import Frame, Geometry, RunWriter

    run = tmp_path / "run"
    with RunWriter.create(
        run, Geometry(("y", "x"), (16, 20), np.dtype("uint16")), frames_per_block=2
    ) as writer:
        for counter, pixels in enumerate(DATA):
            writer.append(Frame(counter, counter + 1, pixels))
    frames, error = salvaged(run)
    np.testing.assert_array_equal(frames, DATA)
    assert not error
    (run / "frames" / "c.1.0.0").unlink()
    frames, error = salvaged(run)
    np.testing.assert_array_equal(frames, DATA[:2])
    assert error.startswith(f"cannot read frame 2 of {run}::frames: ")


def test_a_virtual_dataset_without_its_files_is_refused(tmp_path: Path) -> None:
    """HDF5 would give zeros for the frames of a file that was not copied along."""
    layout = h5py.VirtualLayout((10, 16, 20), "uint16")
    for number in range(2):
        with h5py.File(tmp_path / f"part{number}.h5", "w") as file:
            file["data"] = DATA
        source = h5py.VirtualSource(f"part{number}.h5", "data", DATA.shape)
        layout[5 * number : 5 * number + 5] = source
    path = tmp_path / "master.h5"
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("data", layout)
    frames, error = salvaged(path)
    np.testing.assert_array_equal(frames, [*DATA, *DATA])
    (tmp_path / "part1.h5").unlink()
    frames, error = salvaged(path)
    assert (frames, error) == (
        [], f"{path}::/data takes frames from part1.h5, which is not there; put it beside the file"
    )  # fmt: skip
