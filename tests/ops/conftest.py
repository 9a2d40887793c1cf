"""The array libraries that block functions are held to, and frames to work on."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import array_api_compat
import array_api_strict
import dask
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import xarray as xr

from forebay.ops._arrays import ndimage
from forebay.ops.deconvolution import point_spread
from forebay.ops.detection import local, matched, scale_space
from forebay.ops.detection import maxima as heights
from forebay.ops.filters import footprint, gaussian, rolling_ball
from forebay.ops.measurement import seams
from forebay.ops.particles import image, maxima, table
from forebay.ops.reduction import quality
from forebay.ops.registration import channels, shifting, tiles
from forebay.ops.temporal import finite

STRICT_DEVICE = array_api_strict.Device("device1")


class Library:
    """One array library on one device, and the way there and back."""

    def __init__(self, name: str, namespace: ModuleType, **where: Any) -> None:
        self.name = name
        self.namespace = namespace
        self.where = where

    def array(self, values: npt.ArrayLike) -> Any:
        """Return `values` as an array of this library, on its device."""
        return self.namespace.asarray(np.asarray(values), **self.where)

    def host(self, array: Any) -> npt.NDArray[Any]:
        """Return `array`, which must be one of this library on its device, as a NumPy array."""
        assert array_api_compat.array_namespace(array) is array_api_compat.array_namespace(
            self.array(0)
        )
        assert array_api_compat.device(array) == array_api_compat.device(self.array(0))
        return to_host(array)


def is_strict(array: Any) -> bool:
    """Tell whether an array is of array_api_strict."""
    return isinstance(array, type(array_api_strict.asarray(0)))


def to_host(array: Any) -> npt.NDArray[Any]:
    """Return any array as a NumPy array, from whatever device."""
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    if is_strict(array):
        return np.asarray(array.to_device(array_api_strict.Device("CPU_DEVICE")))
    return np.asarray(array)


class StrictFilters:
    """`scipy.ndimage` for strict arrays, which no library filters: a copy there and back."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(scipy.ndimage, name)

        def filtered(*arguments: Any, **options: Any) -> Any:
            assert all(
                argument.device == STRICT_DEVICE for argument in arguments if is_strict(argument)
            )
            result = function(*(to_host(a) if is_strict(a) else a for a in arguments), **options)
            return array_api_strict.asarray(result, device=STRICT_DEVICE)

        return filtered


def filters_of(array: Any) -> Any:
    """Return the image filters for any array, strict ones too."""
    return StrictFilters() if is_strict(array) else ndimage(array)


def cupy_or_skip() -> ModuleType:
    """Return CuPy, or skip the test with the reason."""
    cupy: ModuleType = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.is_available():
        pytest.skip("CuPy finds no CUDA device")
    return cupy


CUPY = pytest.param("cupy", marks=pytest.mark.gpu)


@pytest.fixture(params=["numpy", "strict", CUPY])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Give each library that a block function must work with.

    Strict arrays on a device of their own refuse whatever the array API standard does not
    promise, and every silent copy to the host: they stand in for a GPU where there is none.
    """
    if request.param == "numpy":
        return Library("numpy", np)
    if request.param == "cupy":
        return Library("cupy", cupy_or_skip())
    for module in (
        channels,
        finite,
        footprint,
        gaussian,
        heights,
        image,
        local,
        matched,
        maxima,
        point_spread,
        quality,
        rolling_ball,
        scale_space,
        shifting,
    ):
        monkeypatch.setattr(module, "ndimage", filters_of)
    for module in (seams, table, tiles):
        monkeypatch.setattr(module, "to_host", to_host)
    return Library("strict", array_api_strict, device=STRICT_DEVICE)


@pytest.fixture(params=["numpy", CUPY])
def chunk_library(request: pytest.FixtureRequest) -> Library:
    """Give each library that can be the chunks of a Dask array."""
    return Library("numpy", np) if request.param == "numpy" else Library("cupy", cupy_or_skip())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute a few small chunks without starting threads for them."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Give random numbers, the same each time."""
    return np.random.default_rng(20)


@pytest.fixture
def frames(rng: np.random.Generator) -> xr.DataArray:
    """Give seven small noisy uint16 frames with everything that a result should keep."""
    result = xr.DataArray(
        rng.integers(0, 4000, (7, 30, 41), dtype=np.uint16),
        dims=("t", "y", "x"),
        coords={
            "t": 0.25 * np.arange(7),
            "y": ("y", 0.5 * np.arange(30), {"units": "µm"}),
            "x": ("x", 0.5 * np.arange(41), {"units": "µm"}),
            "frame_id": ("t", np.arange(100, 107)),
            "exposure": 0.01,
        },
        name="intensity",
        attrs={"camera": "A7"},
    )
    result.encoding = {"dtype": "uint16", "chunks": (1, 30, 41)}
    return result
