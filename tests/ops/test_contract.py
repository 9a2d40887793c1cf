"""What holds for every operation on frames, whatever it computes."""

from collections.abc import Callable
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from forebay.ops import (
    OperationError,
    align_channels,
    anisotropic_diffusion,
    apply_window,
    background,
    bad_pixels,
    bandpass,
    bilateral_filter,
    black_top_hat,
    closing,
    coherence,
    correct_camera,
    correct_drift,
    correct_photobleaching,
    difference_of_gaussians,
    dilation,
    erosion,
    estimate_drift,
    estimate_illumination,
    estimate_tile_offsets,
    exponential_filter,
    find_particles,
    fir_filter,
    flat_field,
    fourier_bandpass,
    fourier_filter,
    fourier_ring_correlation,
    gaussian_filter,
    gaussian_psf,
    iir_filter,
    laplacian_of_gaussian,
    local_threshold,
    matched_filter,
    measured_psf,
    median_filter,
    nonlocal_means,
    opening,
    otsu_threshold,
    phase_correlation,
    power_spectrum,
    remove_cosmic_rays,
    remove_fixed_pattern,
    replace_bad_pixels,
    richardson_lucy,
    rolling_ball,
    running_mean,
    running_median,
    spectrogram,
    stitch_tiles,
    subtract_background,
    subtract_dark,
    to_electrons,
    triangle_threshold,
    unsupervised_wiener,
    wavelet_denoise,
    welch_spectrum,
    white_top_hat,
    wiener,
)

type Operation = Callable[[xr.DataArray], xr.DataArray]
type Eagerly = Callable[[Operation, xr.DataArray], xr.DataArray]

SPOT = np.ones((3, 3))
PSF = gaussian_psf(sigma=1, truncate=2)

PLACES = xr.DataArray([[0, 0], [4, 9]], dims=("t", "axis"), coords={"axis": ["y", "x"]})
DRIFT = xr.DataArray([1.0, -0.5], dims="axis", coords={"axis": ["y", "x"]})


def is_described_by(result: xr.DataArray, frames: xr.DataArray) -> bool:
    """Tell whether a result has the name and attributes of frames, but for a unit of its own."""
    attributes = {name: each for name, each in result.attrs.items() if name != "units"}
    return result.name == frames.name and attributes == frames.attrs


KEEP_DIMS: dict[str, Operation] = {
    "align_channels": lambda frames: align_channels(frames, dim="t", edge="nearest"),
    "apply_window": apply_window,
    "correct_camera": lambda frames: correct_camera(
        frames, dark=background(frames) / 9, flat=background(frames) + 1, threshold=9
    ),
    "correct_drift": lambda frames: correct_drift(frames, DRIFT, edge="nearest"),
    "bandpass": lambda frames: bandpass(frames, background_sigma=2, truncate=3),
    "fourier_bandpass": lambda frames: fourier_bandpass(frames, min_wavelength=3, max_wavelength=9),
    "fourier_filter": lambda frames: fourier_filter(frames, kind="low", cutoff=0.1),
    "subtract_background": lambda frames: subtract_background(frames, background(frames)),
    "local_threshold": lambda frames: local_threshold(frames, size=5),
    "matched_filter": lambda frames: matched_filter(frames, template=SPOT, training=2),
    "flat_field": lambda frames: flat_field(frames, flat=background(frames) + 1),
    "gaussian_filter": lambda frames: gaussian_filter(frames, sigma=(1, 2), order=(0, 1)),
    "laplacian_of_gaussian": lambda frames: laplacian_of_gaussian(frames, sigma=1.5),
    "difference_of_gaussians": lambda frames: difference_of_gaussians(frames, sigma=1.5),
    "median_filter": lambda frames: median_filter(frames, size=3),
    "erosion": lambda frames: erosion(frames, size=3),
    "dilation": lambda frames: dilation(frames, size=5, footprint="square"),
    "opening": lambda frames: opening(frames, size=5),
    "closing": lambda frames: closing(frames, size=3, footprint="square"),
    "white_top_hat": lambda frames: white_top_hat(frames, size=5),
    "black_top_hat": lambda frames: black_top_hat(frames, size=3),
    "rolling_ball": lambda frames: rolling_ball(frames, radius=3),
    "bilateral_filter": lambda frames: bilateral_filter(
        frames, sigma=0.7, value_sigma=500, truncate=2
    ),
    "nonlocal_means": lambda frames: nonlocal_means(
        frames, strength=800, patch_size=3, search_size=3
    ),
    "anisotropic_diffusion": lambda frames: anisotropic_diffusion(frames, iterations=3, edge=500),
    "wavelet_denoise": lambda frames: wavelet_denoise(frames, levels=2),
    "running_median": lambda frames: running_median(frames, window=3),
    "running_mean": lambda frames: running_mean(frames, window=3),
    "fir_filter": lambda frames: fir_filter(frames, taps=[0.5, 0.25]),
    "exponential_filter": lambda frames: exponential_filter(
        frames, alpha=0.3, initial=background(frames)
    ),
    "subtract_dark": lambda frames: subtract_dark(
        frames, background(frames), exposure=2, dark_exposure=1
    ),
    "replace_bad_pixels": lambda frames: replace_bad_pixels(
        frames, bad_pixels(frames, threshold=2)
    ),
    "remove_cosmic_rays": lambda frames: remove_cosmic_rays(
        frames, read_noise=100, threshold=3, contrast=1, iterations=1
    ),
    "to_electrons": lambda frames: (
        to_electrons(frames, gain=0.5, offset=background(frames))
        .drop_attrs(deep=False)
        .assign_attrs(frames.attrs)
    ),
    "correct_photobleaching": lambda frames: correct_photobleaching(frames, method="ratio"),
    "remove_fixed_pattern": lambda frames: remove_fixed_pattern(frames, window=5),
    "iir_filter": lambda frames: iir_filter(frames, sos=[[0.2, 0.4, 0.2, 1, -0.4, 0.2]]),
    "richardson_lucy": lambda frames: richardson_lucy(frames, psf=PSF, iterations=4),
    "unsupervised_wiener": lambda frames: unsupervised_wiener(frames, psf=PSF, prior="flat"),
    "wiener": lambda frames: wiener(frames, psf=PSF, noise_to_signal=0.1),
}

REDUCE: dict[str, Operation] = {
    "estimate_illumination": lambda frames: estimate_illumination(frames, degree=2),
    "median": background,
    "mean": lambda frames: background(frames, method="mean"),
    "power_spectrum": power_spectrum,
    "otsu_threshold": lambda frames: otsu_threshold(frames, bins=64),
    "triangle_threshold": lambda frames: triangle_threshold(frames, bins=64),
    "estimate_drift": estimate_drift,
    "estimate_tile_offsets": lambda frames: estimate_tile_offsets(frames[:2], PLACES, dim="t"),
    "measured_psf": lambda frames: measured_psf(frames[:, :29, :41], dim="t"),
    "stitch_tiles": lambda frames: stitch_tiles(frames[:2], PLACES + 0.5, dim="t"),
    "running_drift": lambda frames: estimate_drift(frames, reference="running"),
    "phase_correlation": lambda frames: phase_correlation(frames, background(frames)),
    "coherence": lambda frames: coherence(
        frames, bandpass(frames, background_sigma=2), dim="x", segment=8
    )[..., 1:],
    "fourier_ring_correlation": lambda frames: fourier_ring_correlation(frames)[1:],
    "spectrogram": lambda frames: spectrogram(frames, segment=2),
    "welch_spectrum": lambda frames: welch_spectrum(frames, segment=2),
    "radial": lambda frames: power_spectrum(frames, radial=True),
}
ALL = KEEP_DIMS | REDUCE
REARRANGED = {"exponential_filter", "iir_filter"}
"""What needs each pixel's whole history."""
CHUNKS: dict[str, Any] = {"t": 4, "y": (13, 17), "x": (36, 5)}

each = pytest.mark.parametrize("operation", ALL.values(), ids=ALL.keys())
each_keeping = pytest.mark.parametrize("operation", KEEP_DIMS.values(), ids=KEEP_DIMS.keys())


@pytest.fixture(scope="module")
def eagerly() -> Eagerly:
    """Give what an operation makes of the frames, which are the same each time, or of others."""
    found: dict[tuple[int, str], xr.DataArray] = {}

    def result(operation: Operation, frames: xr.DataArray) -> xr.DataArray:
        key = (id(operation), frames.dtype.str)
        if key not in found:
            found[key] = operation(frames)
        return found[key]

    return result


class Tagged(np.ndarray[Any, Any]):
    """A NumPy array that a result must be of as well: the stand-in for CuPy chunks."""


def no_scheduler(*_: Any, **__: Any) -> None:
    """Stand in for a Dask scheduler where nothing may be computed."""
    raise AssertionError("something was computed while the graph was built")


@each
def test_what_describes_the_frames_stays_and_the_frames_too(
    operation: Operation, frames: xr.DataArray
) -> None:
    """Name and attributes are those of the frames, the encoding is not; nothing is written to them.

    Of a filter the dimensions in their order and all coordinates are those of the frames as well.
    """
    before = frames.copy(deep=True)
    result = operation(frames)

    xr.testing.assert_identical(frames, before)
    assert frames.encoding["dtype"] == "uint16"
    assert result.name == "intensity"
    assert is_described_by(result, frames)
    assert result.encoding == {}
    if operation in KEEP_DIMS.values():
        xr.testing.assert_identical(result, frames.copy(data=result.data))


@each_keeping
def test_the_order_of_dimensions_does_not_matter(
    operation: Operation, frames: xr.DataArray, eagerly: Eagerly
) -> None:
    """Frames with y or x first give the same values in their own order."""
    turned = frames.transpose("x", "t", "y")

    result = operation(turned)

    assert result.dims == turned.dims
    np.testing.assert_allclose(
        result.transpose("t", "y", "x"), eagerly(operation, frames), rtol=1e-5, atol=1e-2
    )


@each
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_work_is_done_in_float32(operation: Operation, frames: xr.DataArray, dtype: str) -> None:
    """Every real dtype but float64 gives float32, eagerly and on Dask."""
    few = (frames // 16).astype(dtype)

    lazy = operation(few.chunk({"t": 4}))

    assert operation(few).dtype == np.float32
    assert lazy.dtype == np.float32
    assert lazy.compute().dtype == np.float32


@each
def test_float64_stays_float64_and_is_near_float32(
    operation: Operation, frames: xr.DataArray, eagerly: Eagerly
) -> None:
    """Float64 of whatever byte order gives native float64, eagerly and on Dask.

    Float32 results are within 1e-4 of it, plus 1e-5 of the largest value.
    """
    double = eagerly(operation, frames.astype("float64"))
    swapped = operation(frames.astype(">f8").chunk(CHUNKS)).compute()

    assert double.dtype == operation(frames.astype(">f8")).dtype == np.dtype("=f8")
    assert swapped.dtype == np.dtype("=f8")
    largest = float(abs(double).max())
    np.testing.assert_allclose(eagerly(operation, frames), double, rtol=1e-4, atol=1e-5 * largest)
    np.testing.assert_allclose(swapped, double, rtol=1e-5, atol=1e-5 * largest)


@each
def test_lazy_is_eager_and_computes_nothing_before(
    operation: Operation, frames: xr.DataArray, eagerly: Eagerly
) -> None:
    """Chunks of odd sizes, cut through y and x, give what one NumPy array gives.

    The result is Dask-backed, and no task is run while the graph is built.
    """
    eager = eagerly(operation, frames)

    with dask.config.set(scheduler=no_scheduler):
        lazy = operation(frames.chunk(CHUNKS))

    assert isinstance(lazy.data, da.Array)
    computed = lazy.compute()
    assert lazy.dims == eager.dims
    # Sums over chunks are added in another order, in float32 at the last.
    np.testing.assert_allclose(computed, eager, rtol=1e-5, atol=1e-5 * float(abs(eager).max()))
    xr.testing.assert_identical(computed, eager.copy(data=computed.data))
    assert set(lazy.chunksizes) == set(lazy.dims)  # raises where coordinates are cut otherwise


@each
def test_operations_compose_lazily(operation: Operation, frames: xr.DataArray) -> None:
    """The result of one operation is the input of the next, without a computation between."""
    with dask.config.set(scheduler=no_scheduler):
        chained = operation(bandpass(frames.chunk({"t": 4, "x": (36, 5)}), background_sigma=2))
    eager = operation(bandpass(frames, background_sigma=2))

    np.testing.assert_allclose(
        chained.compute(), eager, rtol=1e-4, atol=1e-4 * float(abs(eager).max())
    )


@each
def test_the_graph_knows_the_library_of_its_chunks(
    operation: Operation, frames: xr.DataArray
) -> None:
    """The meta of a lazy result is of the library of the input's chunks, not plain NumPy."""
    tagged = frames.values.view(Tagged)
    data = da.from_array(tagged, (3, 30, 41), asarray=False)  # type: ignore[no-untyped-call]
    assert isinstance(data._meta, Tagged)

    result = operation(frames.copy(data=data))

    assert isinstance(result.data._meta, Tagged)


@pytest.mark.parametrize("name", sorted(KEEP_DIMS.keys() - REARRANGED))
def test_a_frame_is_not_torn_into_more_tasks_than_it_has_chunks(
    name: str, frames: xr.DataArray
) -> None:
    """Frames in whole-frame chunks keep their chunks, also next to a background cut otherwise."""
    whole = frames.chunk({"t": 2, "y": -1, "x": -1})

    assert KEEP_DIMS[name](whole).chunks == whole.chunks


@each
def test_the_graph_holds_no_pixels(operation: Operation, frames: xr.DataArray) -> None:
    """What an operation adds to a graph is small, however large the frames are."""
    empty = xr.DataArray(
        da.zeros((5, 1024, 1024), chunks=(1, -1, -1), dtype="uint16"), dims=("t", "y", "x")
    )

    graph = operation(empty).data.dask

    assert len(cloudpickle.dumps(dict(graph))) < 200_000


REFUSED: list[tuple[Callable[[xr.DataArray], Any], str]] = [
    (lambda frames: frames.values, "is a ndarray, but must be an xarray.DataArray"),
    (lambda frames: frames > 5, "is of dtype bool"),
    (lambda frames: frames.astype("complex64"), "is of dtype complex64"),
    (lambda frames: frames.astype("longdouble"), "is of dtype"),
    (lambda frames: frames[:0], "is empty"),
    (lambda frames: frames.rename(t="u", y="v"), "is needed"),
]


@each
def test_frames_that_cannot_be_worked_on_are_refused(
    operation: Operation, frames: xr.DataArray
) -> None:
    """What is no stack of real frames is refused before anything is built, with the reason."""
    for change, message in REFUSED:
        with pytest.raises(OperationError, match=message) as caught:
            operation(change(frames))
        assert "\n" not in str(caught.value)


def test_frames_on_the_gpu_stay_there(
    chunk_library: Any, frames: xr.DataArray, eagerly: Eagerly
) -> None:
    """Chunks of any library go through all operations and come out in that library."""
    on_device = frames.copy(data=chunk_library.array(frames.values))
    for name, operation in ALL.items():
        expected = eagerly(operation, frames)
        for given in (on_device, on_device.chunk({"t": 3})):
            result = operation(given)
            result = result.compute() if result.chunks else result
            np.testing.assert_allclose(
                chunk_library.host(result.data),
                expected.values,
                rtol=1e-4,
                atol=1e-5 * float(abs(expected).max()),
                err_msg=name,
            )


def test_particles_are_the_same_from_any_library(
    chunk_library: Any, rng: np.random.Generator
) -> None:
    """Frames in any library give the table that NumPy gives, and the table is on the host."""
    values = spots(rng)
    expected = find_particles(xr.DataArray(values, dims=("t", "y", "x")), diameter=7, minmass=500)

    on_device = xr.DataArray(chunk_library.array(values), dims=("t", "y", "x"))

    found = find_particles(on_device, diameter=7, minmass=500)
    assert len(found) == len(expected) > 10
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def spots(rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return three frames with six bright spots each."""
    y, x = np.mgrid[:64, :96]
    values = rng.normal(100, 2, (3, 64, 96))
    for frame in values:
        for centre_y in (16, 48):
            for centre_x in (16, 48, 80):
                at_y, at_x = np.array([centre_y, centre_x]) + rng.uniform(-2, 2, 2)
                frame += 400 * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 1.5**2))
    return values.astype(np.uint16)
