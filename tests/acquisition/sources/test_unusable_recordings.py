"""What cannot be replayed is refused in one line that says what to do."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources import open_source
from forebay.errors import ExitCode

STACK = np.ones((3, 6, 8), "uint16")
GREY = Image.fromarray(np.ones((6, 8), "uint8"))


def nothing(path: Path) -> None:
    """Leave the place empty."""


def empty_folder(path: Path) -> None:
    path.mkdir()


def folder_of_text(path: Path) -> None:
    path.mkdir()
    (path / "a.txt").write_text("a")


def folder_of_both(path: Path) -> None:
    path.mkdir()
    GREY.save(path / "a.png")
    tifffile.imwrite(path / "b.tif", STACK[0])


def folder_of_stacks(path: Path) -> None:
    path.mkdir()
    tifffile.imwrite(path / "a.tif", STACK, photometric="minisblack")


def folder_with_a_broken_link(path: Path) -> None:
    path.mkdir()
    (path / "a.png").symlink_to("gone.png")


def folder_with_a_pipe(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "a.png")


def text(path: Path) -> None:
    path.write_text("not an image")


def png_of_16_bit_colour(path: Path) -> None:
    def part(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + b"\1" * 6)
    parts = [part(b"IHDR", header), part(b"IDAT", pixels), part(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def transparent_png(path: Path) -> None:
    Image.fromarray(np.full((6, 8, 4), 9, "uint8")).save(path)


def animated_png(path: Path) -> None:
    other = Image.fromarray(np.zeros((6, 8), "uint8"))
    GREY.save(path, save_all=True, append_images=[other], pnginfo=PngInfo())


def tiff_of_two_kinds(path: Path) -> None:
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(STACK, photometric="minisblack", metadata={"axes": "TYX"})
        tif.write(np.ones((4, 4, 3), "uint8"), photometric="rgb")


def tiff_of_unclear_axes(path: Path) -> None:
    tifffile.imwrite(path, np.ones((2, 3, 6, 8), "uint8"), photometric="minisblack")


def hdf5(**datasets: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, data in datasets.items():
                file[name] = data

    return write


def npy(array: Any) -> Callable[[Path], None]:
    return lambda path: np.save(path, array, allow_pickle=True)


def zarr_group(**arrays: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        group = zarr.open_group(path, mode="w")
        for name, data in arrays.items():
            group.create_array(name, data=data)

    return write


def ome_zarr_of_depth(path: Path) -> None:
    group = zarr.open_group(path, mode="w")
    group.create_array("0", data=np.ones((2, 3, 4, 5), "uint8"))
    axes = [{"name": name, "type": "space"} for name in "tzyx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]


def broken_zarr(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text("{")


BOTH = {"a": STACK, "b": STACK}
CASES: list[tuple[Callable[[Path], None], str, str]] = [
    (nothing, "no.tif", "{} does not exist; give the path of a recording"),
    (nothing, "no.tif::x", "no.tif does not exist; give the path of a recording"),
    (nothing, "::x", "lacks a part at '::'; write path::array or the path"),
    (nothing, "x" * 300, "File name too long; give the path of a file or a folder"),
    (nothing, "a\0b", r"a\x00b: embedded null byte; give the path of a file or a folder"),
    (empty_folder, "e", "the folder {} is empty; give the folder of the frames"),
    (folder_of_text, "t", "the folder {} holds no PNG or TIFF file; give the folder of the"),
    (folder_of_both, "b", "the folder {} holds both PNG and TIFF files; move the one kind"),
    (folder_of_stacks, "s", "a.tif) holds 3 frames; in a folder each file is one frame: give"),
    (folder_with_a_broken_link, "l", "a.png is a symbolic link to gone.png, which does not exist"),
    (folder_with_a_pipe, "p", "a.png is neither a file nor a folder"),
    (text, "a.mp4", "{} has the suffix .mp4, which is not known; give a folder of PNG or TIFF"),
    (text, "movie", "{} has no suffix; give a folder of PNG or TIFF files"),
    (text, "a.tif", "cannot read {}: not a TIFF file"),
    (text, "a.tif::b", "a.tif holds no arrays to choose from, so leave out '::b'; only Zarr"),
    (text, "a.png", "({}): it is not a PNG file; check that it is whole"),
    (text, "a.h5", "file signature not found); check that it is a whole HDF5 file, or copy it"),
    (text, "a.npy", "cannot read {}: it is not a .npy file; save the frames as one numeric"),
    (png_of_16_bit_colour, "c.png", "has 16 bits in a sample of a colour, which would be changed"),
    (transparent_png, "t.png", "has transparent pixels, which a camera does not make; save it"),
    (animated_png, "a.png", "({}) is an animation; save its images as files of their own"),
    (tiff_of_two_kinds, "k.ome.tif", "{} holds 2 images of different kinds; save the one"),
    (tiff_of_unclear_axes, "u.tif", "{} has the axes QQYX, which can be read in two ways; save"),
    (hdf5(a=STACK[0]), "a.h5", "{} has no datasets of three or more axes; choose one with "),
    (hdf5(**BOTH), "a.h5", "{} has 2 datasets of three or more axes; choose one with {}::/path"),
    (hdf5(**BOTH), "a.h5::c", "a.h5::c is not there; choose one of /a (3, 6, 8), /b (3, 6, 8)"),
    (hdf5(a=STACK[0]), "a.h5::a", "has 2 axes, (6, 8); frames are (t, y, x) or (t, c, y, x): "),
    (hdf5(a=h5py.Empty("f4")), "a.h5::a", "has 0 axes, (); frames are (t, y, x)"),
    (hdf5(a=STACK.astype("c16")), "a.h5", "has pixels of type complex128; forebay takes integers"),
    (hdf5(a=STACK[:0]), "a.h5", "/a holds no frames; give a recording that has some"),
    (hdf5(a=STACK[:, :0]), "a.h5", "has frames of shape (0, 8); a frame is (y, x) or (c, y, x)"),
    (npy(STACK[0]), "a.npy", "{} has 2 axes, (6, 8)"),
    (npy(STACK > 0), "a.npy", "{} has pixels of type bool; forebay takes integers and real"),
    (npy([None, {}]), "a.npy", "cannot read {}: Array can't be memory-mapped: Python objects"),
    (npy(STACK[:0]), "a.npy", "{} holds no frames; give a recording that has some"),
    (zarr_group(), "g.zarr", "{} has no arrays of three or more axes; choose one with {}::path"),
    (zarr_group(**BOTH), "g.zarr", "it holds a (3, 6, 8), b (3, 6, 8)"),
    (zarr_group(**BOTH), "g.zarr::c", "g.zarr::c is not there; choose one of a (3, 6, 8), b"),
    (ome_zarr_of_depth, "d.zarr", "{}::0 has the axes t, z, y, x; frames are t, y, x or t, c,"),
    (empty_folder, "n.zarr", "{} holds none of zarr.json, .zarray, .zgroup; give the folder"),
    (broken_zarr, "b.zarr", "cannot read {}: Expecting property name"),
]


@pytest.mark.parametrize(
    ("write", "name", "said"), CASES, ids=[f"{name[:9]!r}, {said}" for _, name, said in CASES]
)
def test_it_is_said_what_is_wrong(
    write: Callable[[Path], None], name: str, said: str, tmp_path: Path
) -> None:
    """One line, with the path, the cause, and a remedy; the exit code is that of bad input."""
    path = tmp_path / name if name != "::x" else Path(name)
    if "::" not in name:
        write(path)
    else:
        write(tmp_path / name.partition("::")[0])
    with pytest.raises(SourceError) as caught:
        open_source(str(path))
    message = str(caught.value)
    assert said.replace("{}", str(path)) in message
    assert message.isprintable()
    assert caught.value.exit_code == ExitCode.INPUT


@pytest.mark.parametrize("spec", ["", "  "])
def test_no_path_is_not_the_current_folder(spec: str) -> None:
    """An empty text is a mistake, not the folder one happens to be in."""
    with pytest.raises(SourceError, match="no path is given"):
        open_source(spec)


def test_a_double_colon_in_the_name_of_a_folder(tmp_path: Path) -> None:
    """What exists under the whole name is meant."""
    folder = tmp_path / "day::1"
    folder.mkdir()
    hdf5(a=STACK)(folder / "a.h5")
    GREY.save(folder / "a.png")
    for spec in (str(folder), f"{folder}/a.h5", f"{folder}/a.h5::a"):
        with open_source(spec) as source:
            assert source.geometry.shape == (6, 8)


def test_a_colour_image_among_grey_ones(tmp_path: Path) -> None:
    """The first image decides; a later one with colours is named."""
    pixels = np.full((6, 8, 3), 7, "uint8")
    Image.fromarray(pixels).save(tmp_path / "1.png")
    pixels[0, 0, 0] = 8
    Image.fromarray(pixels).save(tmp_path / "2.png")
    with (
        open_source(str(tmp_path)) as source,
        pytest.raises(SourceError, match=r"frame 1 \(.*2.png\) has colours, but the first frame"),
    ):
        list(source.frames())


def test_a_file_that_goes_away_in_the_middle(tmp_path: Path) -> None:
    """Deleted while it is replayed."""
    for number in range(3):
        GREY.save(tmp_path / f"{number}.png")
    with open_source(str(tmp_path)) as source:
        frames = source.frames()
        next(frames)
        (tmp_path / "1.png").unlink()
        with pytest.raises(SourceError, match=r"frame 1 \(.*1.png\): it is not there; check"):
            next(frames)
