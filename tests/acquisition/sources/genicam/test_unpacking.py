"""Pixels as cameras pack them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.acquisition.sources.genicam.packing import PACKERS

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam.pixels import FORMATS, ImageReader, pixel_format

BY_NAME = {form.name: form for form in FORMATS.values()}


@pytest.mark.parametrize("name", PACKERS)
@given(data=st.data())
def test_packed_pixels_come_out_as_they_went_in(name: str, data: st.DataObject) -> None:
    """Every value of every pixel, whatever its neighbours are."""
    bits, pack = PACKERS[name]
    height, width = data.draw(st.integers(1, 4)), 4 * data.draw(st.integers(1, 5))
    size = height * width
    pixels = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=size, max_size=size))
    sent = np.frombuffer(pack(pixels) + b"chunk data", np.uint8)
    found = ImageReader(BY_NAME[name], height, width).read(sent)
    assert found.dtype == np.uint16
    assert found.tolist() == np.reshape(pixels, (height, width)).tolist()


@pytest.mark.parametrize("name", ["Mono8", "Mono10", "Mono12", "Mono14", "Mono16"])
def test_unpacked_pixels_are_not_copied(name: str) -> None:
    """They lie where the camera's bytes do, the low byte of a pixel first."""
    form = BY_NAME[name]
    sent = np.arange(12 * form.dtype.itemsize, dtype=np.uint8)
    found = ImageReader(form, 3, 4).read(sent)
    assert np.shares_memory(found, sent)
    assert found.tolist() == sent.view(f"<u{form.dtype.itemsize}").reshape(3, 4).tolist()


@pytest.mark.parametrize("name", ["Mono8", "Mono12p"])
def test_an_image_cannot_be_written_to(name: str) -> None:
    """For its memory is used again."""
    found = ImageReader(BY_NAME[name], 2, 4).read(np.zeros(12, np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


def test_packed_pixels_have_to_fill_their_groups() -> None:
    """It is said which width would do."""
    with pytest.raises(SourceError, match=r"3 × 5 pixels .* Mono10p .* multiple of 4"):
        ImageReader(BY_NAME["Mono10p"], 3, 5)


def test_other_formats_are_refused() -> None:
    """And those that are read are listed."""
    with pytest.raises(SourceError, match=r"RGB8 \(0x02180014\) is not read; .* Mono8, Mono10"):
        pixel_format(0x02180014, "RGB8")
