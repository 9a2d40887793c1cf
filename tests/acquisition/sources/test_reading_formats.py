"""What other programs have written is read as it was written."""

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

from forebay.acquisition import Geometry, ImageMetadata
from forebay.acquisition.sources import ReplaySource, open_source
from forebay.acquisition.sources.readers.tiff import TiffReader

WATER = Path(__file__).parents[3] / "examples" / "data" / "bulk_water"
type Pixels = npt.NDArray[Any]


def frames_of(shape: tuple[int, ...] = (5, 16, 20), dtype: str = "uint16") -> Pixels:
    return np.random.default_rng(3).integers(1, 120, shape).astype(dtype)


def replayed(path: object) -> tuple[Pixels, Geometry, ImageMetadata]:
    with open_source(str(path)) as source:
        pixels = np.stack([frame.data for frame in source.frames()])
        return pixels, source.geometry, source.metadata


def check(path: object, written: Pixels) -> ImageMetadata:
    """Compare all frames and their layout with what was written; return the metadata."""
    pixels, geometry, metadata = replayed(path)
    np.testing.assert_array_equal(pixels, written)
    assert pixels.dtype == geometry.dtype == written.dtype.newbyteorder("=")
    assert geometry.shape == written.shape[1:]
    assert geometry.dims == ("c", "y", "x")[-(written.ndim - 1) :]
    return metadata


def pages(path: Path, data: Pixels) -> None:
    with tifffile.TiffWriter(path) as tif:
        for page in data:
            tif.write(page, contiguous=False, photometric="minisblack", metadata=None)


def by_pillow(path: Path, data: Pixels) -> None:
    first, *others = [Image.fromarray(page) for page in data]
    first.save(path, save_all=True, append_images=others)


def tiff(**options: Any) -> Callable[[Path, Pixels], None]:
    def write(path: Path, data: Pixels) -> None:
        tifffile.imwrite(path, data, photometric="minisblack", **options)

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
def test_a_tiff_file(write: Callable[[Path, Pixels], None], tmp_path: Path) -> None:
    """Stacks as tifffile, ImageJ, OME and Pillow lay them out."""
    path = tmp_path / "stack.tif"
    write(path, frames_of())
    check(path, frames_of())


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_a_tiff_file_of_any_pixels(dtype: str, tmp_path: Path) -> None:
    """The type of the pixels is kept."""
    tifffile.imwrite(tmp_path / "a.tiff", frames_of(dtype=dtype), photometric="minisblack")
    check(tmp_path / "a.tiff", frames_of(dtype=dtype))


@pytest.mark.parametrize(("axes", "along"), [("TCYX", 1), ("CTYX", 0)])
@pytest.mark.parametrize("kind", ["ome", "shaped"])
def test_a_tiff_file_with_channels(kind: str, axes: str, along: int, tmp_path: Path) -> None:
    """A frame holds all channels of its time, in whatever order the planes lie."""
    data = frames_of((5, 3, 16, 20))
    stored = np.moveaxis(data, 1, along)
    options: dict[str, Any] = {"ome": True} if kind == "ome" else {}
    metadata: dict[str, Any] = {"axes": axes}
    if kind == "ome":
        metadata["Channel"] = {"Name": ["DAPI", "GFP", "RFP"]}
    path = tmp_path / "c.tif"
    tifffile.imwrite(path, stored, photometric="minisblack", metadata=metadata, **options)
    found = check(path, data)
    assert found.channels == (("DAPI", "GFP", "RFP") if kind == "ome" else ())


def test_a_tiff_file_in_colour(tmp_path: Path) -> None:
    """Colour gives three channels with names; grey that is stored as colour gives one plane."""
    data = frames_of((4, 16, 20, 3), "uint8")
    tifffile.imwrite(tmp_path / "rgb.tif", data, photometric="rgb")
    assert check(tmp_path / "rgb.tif", np.moveaxis(data, 3, 1)).channels == (
        "red", "green", "blue",
    )  # fmt: skip
    grey = np.repeat(data[..., :1], 3, axis=3)
    tifffile.imwrite(tmp_path / "grey.tif", grey, photometric="rgb")
    check(tmp_path / "grey.tif", grey[..., 0])


def test_what_a_tiff_file_says_of_the_instrument(tmp_path: Path) -> None:
    """Pixel size in micrometres and rate per second, from ImageJ, OME and the tags."""
    path, data = tmp_path / "a.tif", frames_of()
    imagej = {"axes": "TYX", "unit": "um", "finterval": 0.5}
    tifffile.imwrite(path, data, imagej=True, resolution=(2, 4), metadata=imagej)
    assert replayed(path)[2] == ImageMetadata(pixel_size=(0.25, 0.5), frame_rate=2.0)
    ome = {
        "axes": "TYX", "PhysicalSizeX": 65.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.13,
        "TimeIncrement": 20.0, "TimeIncrementUnit": "ms",
        "Plane": {"ExposureTime": [0.01] * 5, "ExposureTimeUnit": ["s"] * 5},
    }  # fmt: skip
    tifffile.imwrite(path, data, ome=True, photometric="minisblack", metadata=ome)
    found = replayed(path)[2]
    assert found.pixel_size == pytest.approx((0.13, 0.065))
    assert found.exposure == 0.01
    assert found.frame_rate == pytest.approx(50.0)
    for unit, size in (("CENTIMETER", (0.5, 1.0)), ("INCH", None)):
        tifffile.imwrite(path, data, resolution=(1e4, 2e4), resolutionunit=unit)
        assert replayed(path)[2].pixel_size == size


def test_a_folder_of_files_goes_by_the_numbers_in_their_names(tmp_path: Path) -> None:
    """9 comes before 10; hidden files and those of other kinds are left out."""
    data = frames_of((12, 6, 8), "uint8")
    for kind in ("png", "tif"):
        folder = tmp_path / kind
        folder.mkdir()
        for number, pixels in enumerate(data):
            save = Image.fromarray(pixels).save if kind == "png" else None
            path = folder / f"img_{number}.{kind}"
            save(path) if save else tifffile.imwrite(path, pixels)
        (folder / ".img_0.png").write_bytes(b"hidden")
        (folder / "notes.txt").write_text("other")
        (folder / "sub.png").mkdir()
        check(folder, data)


def test_a_file_in_a_folder_is_decoded_once(tmp_path: Path, monkeypatch: Any) -> None:
    """Opening a TIFF file decodes its first frame, which is then not decoded again."""
    for number in range(3):
        tifffile.imwrite(tmp_path / f"{number}.tif", frames_of((6, 8)))
    decoded: list[int] = []
    plane = TiffReader._plane

    def counted(self: TiffReader, index: int) -> Pixels:
        decoded.append(index)
        return plane(self, index)

    monkeypatch.setattr(TiffReader, "_plane", counted)
    replayed(tmp_path)
    assert len(decoded) == 4  # the first file once more, for the geometry


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGB", "RGBA", "LA"])
def test_a_png_of_any_kind(mode: str, tmp_path: Path) -> None:
    """Grey of 8 and 16 bits, palettes, colour, and alpha that hides nothing."""
    data = frames_of((16, 20), "uint16" if mode == "I;16" else "uint8")
    image = Image.fromarray(data)
    if mode in ("RGB", "RGBA"):
        data = np.stack([data, data + 1, data])
        image = Image.fromarray(np.moveaxis(data, 0, 2).astype("uint8")).convert(mode)
    elif mode != "I;16":
        image = image.convert(mode)
    image.save(tmp_path / "a.png")
    check(tmp_path / "a.png", data[None])


def test_the_real_frames() -> None:
    """All 64 frames of the bulk water, 424 × 640 of 8 bits, as Pillow reads them."""
    with ReplaySource(WATER) as source:
        assert source.geometry == Geometry(("y", "x"), (424, 640), np.dtype("uint8"))
        frames = list(source.frames())
    assert len(frames) == 64
    for number in (0, 9, 10, 63):
        with Image.open(WATER / f"bulk_water_{number:03}.png") as image:
            np.testing.assert_array_equal(frames[number].data, np.array(image))


@pytest.mark.parametrize("shape", [(5, 6, 8), (5, 3, 6, 8)])
@pytest.mark.parametrize("dtype", ["uint8", "<u2", ">u2", ">f4", "float64"])
def test_arrays_in_files(shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    """npy, HDF5 and Zarr 2 and 3, with and without channels, in either byte order."""
    data = frames_of(shape).astype(dtype)
    np.save(tmp_path / "a.npy", data)
    check(tmp_path / "a.npy", data)
    np.save(tmp_path / "f.npy", np.asfortranarray(data))
    check(tmp_path / "f.npy", data)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data"] = data
        file.create_dataset("packed", data=data, chunks=(2, *shape[1:]), compression="gzip")
        file["dark"] = data[0, ..., 0]
    check(f"{tmp_path}/a.h5::/entry/data", data)
    check(f"{tmp_path}/a.h5::packed", data)
    for version in (2, 3):
        group = zarr.open_group(tmp_path / f"{version}.zarr", mode="w", zarr_format=version)
        group.create_array("deep/er", data=data, chunks=(2, *shape[1:]))
        check(tmp_path / f"{version}.zarr", data)
        check(f"{tmp_path}/{version}.zarr::/deep/er/", data)
        check(tmp_path / f"{version}.zarr" / "deep" / "er", data)


def test_the_only_stack_of_an_hdf5_file_needs_no_name(tmp_path: Path) -> None:
    """Datasets of fewer axes, and one without data, do not count."""
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["entry/data"] = frames_of()
        file["time"] = np.arange(5)
        file["nothing"] = h5py.Empty("f4")
    check(tmp_path / "a.hdf5", frames_of())


def test_an_ome_zarr_image_and_its_metadata(tmp_path: Path) -> None:
    """The largest image is taken, with pixel size and rate where the units are given."""
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=frames_of(), chunks=(1, 16, 20))
    group.create_array("1", data=frames_of()[:, ::2, ::2], chunks=(1, 8, 10))
    um = {"type": "space", "unit": "micrometer"}
    axes: list[Any] = [{"name": "t", "type": "time", "unit": "second"}, {"name": "y", **um},
            {"name": "x", **um}]  # fmt: skip
    levels: list[Any] = [
        {"path": str(n), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        for n, scale in enumerate([[0.05, 0.2, 0.1], [0.05, 0.4, 0.2]])
    ]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": levels}]}
    found = check(tmp_path / "a.zarr", frames_of())
    assert found.pixel_size == (0.2, 0.1)
    assert found.frame_rate == pytest.approx(20.0)


def test_chunks_of_many_frames_are_decoded_once(tmp_path: Path, monkeypatch: Any) -> None:
    """Going through the frames reads each chunk once."""
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=frames_of((9, 6, 8)), chunks=(4, 6, 8))
    read: list[slice] = []
    get = zarr.Array.__getitem__

    def counted(self: zarr.Array[Any], key: slice) -> Any:
        read.append(key)
        return get(self, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    check(path, frames_of((9, 6, 8)))
    assert read == [slice(0, 4), slice(4, 8), slice(8, 12)]
