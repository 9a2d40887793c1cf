"""A chain between ring and recorder: what it is made of, what it counts, and what it says."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from forebay.acquisition.errors import FrameError
from forebay.acquisition.frames import Geometry, ImageMetadata
from forebay.acquisition.reduction import (
    ReductionChain,
    ReductionError,
    bands,
    chain_from,
    parse_step,
    repeat_reduction,
)
from forebay.acquisition.sources.testing.clock import ManualClock

CAMERA = Geometry(("y", "x"), (24, 36), np.dtype("uint16"))


def chain_of(*texts: str, geometry: Geometry = CAMERA, **options: Any) -> ReductionChain:
    """Return the chain of some steps."""
    return ReductionChain([parse_step(text) for text in texts], geometry, **options)


def slot(chain: ReductionChain) -> npt.NDArray[Any]:
    """Return room for a reduced frame."""
    return np.empty(chain.geometry.shape, chain.geometry.dtype)


def test_a_chain_of_nothing_copies(rng: np.random.Generator) -> None:
    """Without steps frames go on as they came."""
    chain = chain_of()
    pixels, out = rng.integers(0, 9, CAMERA.shape, dtype=np.uint16), slot(chain)

    assert chain.apply(pixels, out)

    assert chain.geometry == CAMERA
    np.testing.assert_array_equal(out, pixels)


def test_the_layout_of_the_result_is_known_before_the_first_frame(geometry: Geometry) -> None:
    """Each step is fitted to what the one before gives."""
    chain = chain_of("region:0:20,0:30", "bin:2x3", "compand:1,2,spacing=2.5", geometry=geometry)

    assert chain.geometry == Geometry(
        geometry.dims, (*geometry.shape[:-2], 10, 10), np.dtype("uint8")
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["bin:5"], "step 1, bin:5x5: frames has 24 pixels along 'y', .* crop 'y' to 20 first"),
        (["bin:2", "region:0:13,0:5"], "step 2, region:0:13,0:5: the bounds along 'y' are 0 to 13"),
        (["region:5:5,0:5"], "has pixels 0 to 24 there"),
        (["region:0:9,0:9,mask=true,fill=0.5"], "fill is 0.5, but frames of dtype uint16"),
        (["bit-depth:17"], "17 bits of 16 cannot be kept of frames of uint16"),
        (["bit-depth:12,of=17"], "12 bits of 17 cannot be kept"),
        (["sparsify:5,background=-1"], "background is -1.0"),
        (["compand:1e-3,1,spacing=1e-3"], "codes are needed, but uint8 has 256"),
        (["bin:2,method=sum", "compand:1,1"], "step 2, compand:1.0,1.0: frames is of dtype uint32"),
        (["compand:1,2,spacing=4", "bin:2"], "step 2, bin:2x2: it would compute with the codes"),
        (["compand:1,2,spacing=4", "select:min-change=1"], "would compute with the codes"),
        (["bin:2,method=sum", "background:a.npy"], "put this step before a binning"),
    ],
)
def test_steps_that_do_not_fit_are_refused_when_the_chain_is_made(
    texts: list[str], message: str
) -> None:
    """The error has the number and the text of the step, and what to do."""
    with pytest.raises(ReductionError, match=message):
        chain_of(*texts)


def test_codes_can_still_be_moved_and_selected() -> None:
    """Behind a compand step there may be a region and a selection that does not look."""
    chain = chain_of("compand:1,2,spacing=2.5", "region:0:5,0:5", "select:every=2")

    assert chain.geometry.dtype == np.uint8


@pytest.mark.parametrize(
    ("pixels", "out", "what"),
    [
        (np.zeros((24, 35), "uint16"), np.zeros((12, 18), "uint16"), "comes"),
        (np.zeros((24, 36), "int16"), np.zeros((12, 18), "uint16"), "comes"),
        (np.zeros((24, 36), "uint16"), np.zeros((24, 36), "uint16"), "goes on"),
        (np.zeros((24, 36), "uint16"), np.zeros((12, 18), "uint8"), "goes on"),
    ],
)
def test_a_frame_of_another_layout_is_refused(pixels: Any, out: Any, what: str) -> None:
    """Nothing is broadcast, cut or converted without a word, and nothing is counted."""
    chain = chain_of("bin:2")

    with pytest.raises(FrameError, match=f"the frame that {what} has the shape"):
        chain.apply(pixels, out)

    assert chain.counts.frames_in == 0


def test_bytes_frames_and_time_are_counted() -> None:
    """What came, what went on, and the time in between, on the clock that is given."""
    clock = ManualClock()
    chain = chain_of("select:every=3", "bin:2", clock=clock)
    out = slot(chain)

    kept = [chain.apply(np.zeros(CAMERA.shape, np.uint16), out) for _ in range(7)]

    assert kept == [True, False, False, True, False, False, True]
    counts = chain.counts
    assert (counts.frames_in, counts.frames_out) == (7, 3)
    assert counts.bytes_in == 7 * CAMERA.frame_bytes
    assert counts.bytes_out == 3 * chain.geometry.frame_bytes
    assert counts.seconds == 0


def test_the_time_spent_is_measured() -> None:
    """With the machine's own clock it is above zero and below what passes outside."""
    chain = chain_of("bin:2")
    out = slot(chain)

    for _ in range(3):
        chain.apply(np.zeros(CAMERA.shape, np.uint16), out)

    assert 0 < chain.counts.seconds < 10


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("select:every=10", "not selected: one frame of 10 is kept"),
        (
            "select:min-change=5",
            "not selected: changed by less than 5 since the last frame kept",
        ),
        ("select:min-variance=7.5", "not selected: the variance of its pixels is below 7.5"),
    ],
)
def test_the_reason_for_a_frame_left_out_is_the_same_each_time(text: str, reason: str) -> None:
    """It names the rule, not the frame, so that frames in a row are written down together."""
    chain = chain_of("bin:2", text)
    assert chain.reason is None
    out = slot(chain)
    reasons: set[str | None] = set()

    for _ in range(5):
        if not chain.apply(np.zeros(CAMERA.shape, np.uint16), out):
            reasons.add(chain.reason)

    assert reasons == {reason}


def test_every_nth_is_asked_before_any_work_is_done() -> None:
    """A frame that is left out by its number is not reduced first."""
    chain = chain_of("bin:2", "select:every=2")
    out = slot(chain)
    chain.apply(np.zeros(CAMERA.shape, np.uint16), out)

    assert not chain.apply(np.full(CAMERA.shape, 9, np.uint16), out)

    assert not out.any()


def test_a_selection_counts_only_what_reaches_it() -> None:
    """Every second of the frames that changed, not of all."""
    chain = chain_of("select:min-change=1", "select:every=2")
    out = slot(chain)
    levels = [0, 0, 5, 5, 5, 9, 9, 12]

    kept = [chain.apply(np.full(CAMERA.shape, level, np.uint16), out) for level in levels]

    assert kept == [True, False, False, False, False, True, False, False]


def test_metadata_tell_of_larger_pixels_and_fewer_frames() -> None:
    """Pixels grow by the binning, the frame rate falls by the selection; the rest stays."""
    known = ImageMetadata(pixel_size=(0.1, 0.2), frame_rate=100.0, exposure=0.005)
    chain = chain_of("bin:2x3", "bin:2", "region:0:3,0:3", "select:every=4", "bit-depth:9")

    described = chain.metadata(known)

    assert described.pixel_size == pytest.approx((0.4, 1.2))
    assert described == replace(known, pixel_size=described.pixel_size, frame_rate=25.0)
    assert chain.metadata(ImageMetadata()) == ImageMetadata()


def test_provenance_is_json_from_which_the_chain_is_made_again(
    raw: npt.NDArray[Any], geometry: Geometry, images: dict[str, Path]
) -> None:
    """After a way through text another chain gives the same frames, and the same document."""
    chain = chain_of(
        f"background:{images['dark']},offset=20",
        f"flat-field:{images['flat']},dtype=float",
        "bin:2",
        "select:min-change=3",
        geometry=geometry,
    )
    document = json.loads(json.dumps(chain.provenance()))

    again = chain_from(document)

    assert again.provenance() == document
    for pixels in raw:
        first, second = slot(chain), slot(again)
        assert chain.apply(pixels, first) == again.apply(pixels, second)
        np.testing.assert_array_equal(first, second)


def test_provenance_says_what_one_needs_to_know(images: dict[str, Path]) -> None:
    """Parameters, functions, error bounds, digests of images and versions stand in it."""
    from forebay import __version__

    document = chain_of(f"background:{images['dark']}", "bit-depth:12").provenance()

    assert document["forebay"] == __version__
    assert document["numpy"] == np.__version__
    assert document["input"] == {"dims": ["y", "x"], "shape": [24, 36], "dtype": "uint16"}
    subtracted, rounded = document["steps"]
    assert subtracted["operations"] == [
        "forebay.ops.subtract_background",
        "forebay.ops.to_integers",
    ]
    assert subtracted["images"]["image"]["path"] == str(images["dark"])
    assert subtracted["images"]["image"]["digest"].startswith("blake3:")
    assert rounded["parameters"] == {"step": "bit-depth", "bits": 12, "of": None}
    assert rounded["error_bound"]["absolute"] == 8


def test_an_image_that_has_changed_is_noticed(images: dict[str, Path], tmp_path: Path) -> None:
    """Repeating with another image is refused; with the one that was kept it works."""
    chain = chain_of(f"background:{images['dark']}")
    document, kept = chain.provenance(), chain.images
    np.save(images["dark"], np.load(images["dark"]) + 1)

    with pytest.raises(ReductionError, match=r"dark\.npy is not the image that the frames"):
        chain_from(document)

    assert chain_from(document, images=kept).provenance() == document


@pytest.mark.parametrize("document", [{}, {"input": {}}, {"input": 5, "steps": 7}, {"steps": []}])
def test_what_is_no_provenance_is_refused(document: dict[str, Any]) -> None:
    """A document of another kind gives one error, whatever is wrong with it."""
    with pytest.raises(ReductionError, match="not the provenance of a reduction"):
        chain_from(document)


def test_only_frames_like_the_raw_ones_can_be_reduced_again() -> None:
    """Frames that are reduced already, or of another camera, are refused with both layouts."""
    import xarray as xr

    chain = chain_of("bin:2")
    reduced = xr.DataArray(np.zeros((2, 12, 18), np.uint16), dims=("t", "y", "x"))

    with pytest.raises(ReductionError, match=r"'y': 12.*give the raw frames"):
        repeat_reduction(chain.provenance(), reduced)


def test_frames_of_a_validation_run_are_reduced_without_selecting_again() -> None:
    """Every tenth raw frame, reduced later, is compared with the run frame by frame."""
    import xarray as xr

    chain = chain_of("select:every=10", "bit-depth:8")
    raw = xr.DataArray(np.full((3, *CAMERA.shape), 1000, np.uint16), dims=("t", "y", "x"))

    assert repeat_reduction(chain.provenance(), raw).sizes["t"] == 1
    assert repeat_reduction(chain.provenance(), raw, select=False).sizes["t"] == 3


def test_no_memory_is_taken_for_a_frame(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """Hundred frames through every kind of step leave no memory behind, and take next to none."""
    monkeypatch.setattr(bands, "BAND_PIXELS", 2**15)
    camera = Geometry(("y", "x"), (512, 512), np.dtype("uint16"))
    image = {Path("image"): rng.uniform(50, 60, camera.shape)}
    chain = chain_of(
        "select:min-variance=1",
        "background:image",
        "flat-field:image",
        "region:0:500,0:512",
        "sparsify:5,background=9",
        "select:min-change=0.5",
        "bin:2",
        "bit-depth:12",
        "compand:1,2,spacing=3",
        geometry=camera,
        images=image,
    )
    frames = rng.integers(100, 5000, (3, *camera.shape), dtype=np.uint16)
    out = slot(chain)

    def feed(count: int) -> None:
        for number in range(count):
            assert chain.apply(frames[number % 3], out)

    feed(5)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        feed(100)
        after, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert after - before < 4096
    assert highest - before < camera.frame_bytes / 4
