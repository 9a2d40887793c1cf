"""What is done to each pixel by itself: the same formula on each library, and in CUDA."""

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

from forebay.ops import OperationError, correct_camera, flat_field, sparsify, to_electrons
from forebay.ops import to_integers as as_integers
from forebay.ops.pointwise import formulas
from forebay.ops.pointwise.one_pass import KERNELS, SOURCE, STRETCH, Kernel

INFINITY = float("inf")
TABLE = np.arange(256, dtype=np.uint16)[::-1] * 3
IMAGES = {"offset", "factor", "bias", "current"}
"""Parameters that are given for each pixel; the others are the same for all."""

REAL = {"low": -3.0, "high": 3.0}
TO_BYTES = {"least": 0.0, "most": 255.0, "work": "float32"}
CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    *(
        ("corrected", *each, {})
        for each in [
            ("uint8", "float32"),
            ("uint16", "float32"),
            ("int32", "float32"),
            ("float32", "float32"),
            ("uint16", "float64"),
            ("float64", "float64"),
        ]
    ),
    ("undarkened", "uint16", "float32", {"ratio": 1.5}),
    ("flattened", "uint16", "uint16", {"low": 90, "high": 110, "background": 100}),
    ("flattened", "float32", "float32", {"low": -9.0, "high": 110.0, "background": 0.0}),
    ("rounded", "float32", "uint8", {"least": 0.0, "most": 255.0}),
    ("rounded", "float64", "int16", {"least": -32768.0, "most": 32767.0}),
    ("rounded", "int32", "uint8", {"least": 0, "most": 255}),
    ("without_low_bits", "uint8", "uint8", {"count": 3, "top": 255}),
    ("without_low_bits", "int8", "int8", {"count": 7, "top": 127}),
    ("without_low_bits", "uint16", "uint16", {"count": 1, "top": 65535}),
    ("without_low_bits", "int64", "int64", {"count": 63, "top": 2**63 - 1}),
    ("looked_up", "uint8", "uint16", {"table": TABLE}),
    ("corrected_flattened", "uint16", "float32", REAL),
    ("corrected_rounded", "uint16", "uint8", REAL | TO_BYTES),
    ("corrected_rounded", "float32", "uint8", {"low": INFINITY, "high": -INFINITY} | TO_BYTES),
]
"""A formula, the types of pixels and of results, and its numbers."""
C_TYPES = {
    f"{kind}int{bits}": f"{kind}int{bits}_t" for kind in ("", "u") for bits in (8, 16, 32, 64)
}
C_TYPES |= {"float32": "float", "float64": "double"}

each_case = pytest.mark.parametrize(
    "case", CASES, ids=[f"{name} of {given} to {made}" for name, given, made, _ in CASES]
)


def pixels_of(dtype: str, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return frames with the lowest, the highest and odd values of a type."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        pixels = rng.normal(100, 90, (3, 7, 11)).astype(kind)
        pixels[0, 0, :6] = (np.nan, np.inf, -np.inf, 0.5, 1.5, -0.0)
        return pixels
    ends = np.iinfo(kind)
    pixels = rng.integers(max(ends.min, -300), min(ends.max, 300), (3, 7, 11), dtype=kind)
    pixels[0, 0, :4] = (ends.min, ends.max, ends.max - 1, ends.max // 2)
    return pixels


def images_of(kernel: Kernel, work: str, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Return an image for each parameter that is one."""
    return {
        name: rng.uniform(0.5, 90, (7, 11)).astype(work) for name in kernel.names if name in IMAGES
    }


def expected_of(
    name: str, pixels: npt.NDArray[Any], made: str, given: dict[str, Any]
) -> npt.NDArray[Any]:
    """Return what the formula gives in NumPy, all pixels at once."""
    with np.errstate(invalid="ignore"):
        result: npt.NDArray[Any] = getattr(formulas, name).__wrapped__(pixels, **given, dtype=made)
    return result


@each_case
def test_a_formula_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, case: tuple[str, str, str, dict[str, Any]]
) -> None:
    """On a GPU it is the kernel, elsewhere the formula itself; images are spread over the frames."""
    name, dtype, made, numbers = case
    pixels = pixels_of(dtype, rng)
    images = images_of(KERNELS[name], numbers.get("work", made), rng)
    expected = expected_of(name, pixels, made, numbers | images)
    assert expected.dtype == made

    with np.errstate(invalid="ignore"):
        found = getattr(formulas, name)(
            xp.array(pixels),
            *(xp.array(image) for image in images.values()),
            names=tuple(images),
            dtype=made,
            **numbers,
        )

    np.testing.assert_allclose(xp.host(found), expected, rtol=2e-6 if made == "float32" else 1e-14)


@pytest.mark.parametrize("shape", [(3, 500, 200), (700, 20, 20), (2 * STRETCH,), (1, 5, STRETCH)])
def test_slabs_give_what_all_pixels_at_once_do(shape: tuple[int, ...], rng: Any) -> None:
    """Whichever dimension is the longest, to the last bit."""
    pixels = rng.integers(0, 999, shape).astype(np.uint16)
    image = rng.normal(size=shape[1:]).astype(np.float32)
    assert pixels.size > STRETCH
    bias, ratio = np.float32(3), np.float32(0.5)

    found = formulas.undarkened(
        pixels, image, names=("current",), bias=bias, ratio=ratio, dtype="float32"
    )

    np.testing.assert_array_equal(found, pixels.astype(np.float32) - bias - image * ratio)


def cuda_text() -> str:
    """Return a source with a kernel for each case, around the operation that CuPy is given."""
    lines = [
        "#include <cmath>",
        "#include <cstddef>",
        "#include <cstdint>",
        SOURCE.read_text(),
        "#ifdef __CUDACC__",
        '#define KERNEL extern "C" __global__ void',
        "#define FIRST (ptrdiff_t(blockIdx.x) * blockDim.x + threadIdx.x)",
        "#define STEP (ptrdiff_t(blockDim.x) * gridDim.x)",
        "#else",
        '#define KERNEL extern "C" void',
        "#define FIRST 0",
        "#define STEP 1",
        "#endif",
    ]
    for number, (name, dtype, made, numbers) in enumerate(CASES):
        kernel = KERNELS[name]
        work = numbers.get("work", made)
        types = {"T": C_TYPES[dtype], "R": C_TYPES[work], "O": C_TYPES[made], "int32": "int"}
        arguments, taken = [], []
        for parameter in kernel.parameters:
            kind, called = parameter.removeprefix("raw ").split()
            if parameter.startswith("raw "):
                arguments.append(f"const {types[kind]} *{called}")
            elif called == "pixel" or called in IMAGES:
                arguments.append(f"const {types[kind]} *{called}s")
                taken.append(f"const {types[kind]} {called} = {called}s[i];")
            else:
                arguments.append(f"{types[kind]} {called}")
        arguments += [f"{types['O']} *results", "ptrdiff_t count_of_pixels"]
        lines += [
            f"namespace case_{number} {{",
            *(f"typedef {types[each]} {each};" for each in "TRO"),
            f"KERNEL kernel_{number}({', '.join(arguments)}) {{",
            "for (ptrdiff_t i = FIRST; i < count_of_pixels; i += STEP) {",
            *taken,
            f"{types['O']} result;",
            f"{kernel.operation};",
            "results[i] = result;",
            "}}}",
        ]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Give the kernels compiled for this machine's processor."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "kernels.cpp").write_text(cuda_text())
    library = folder / "kernels.so"
    command = [compiler, "-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [*command, "-shared", "-fPIC", "-o", library, folder / "kernels.cpp"],
        check=True,
        timeout=60,
    )
    return ctypes.CDLL(str(library))


@each_case
def test_the_kernel_of_a_formula_gives_what_the_formula_gives(
    compiled: ctypes.CDLL, rng: np.random.Generator, case: tuple[str, str, str, dict[str, Any]]
) -> None:
    """Its C++, compiled for the processor, pixel for pixel and bit for bit."""
    name, dtype, made, numbers = case
    kernel = KERNELS[name]
    pixels = pixels_of(dtype, rng)
    work = numbers.get("work", made)
    images = images_of(kernel, work, rng)
    expected = expected_of(name, pixels, made, numbers | images)
    found = np.zeros(pixels.shape, made)
    number = CASES.index(case)
    simple: dict[str, Callable[[Any], Any]] = {
        "T": np.ctypeslib.as_ctypes_type(np.dtype(dtype)),
        "R": np.ctypeslib.as_ctypes_type(np.dtype(work)),
        "int32": ctypes.c_int,
    }
    held: list[npt.NDArray[Any]] = []
    arguments: list[Any] = []
    for parameter in kernel.parameters:
        kind, called = parameter.removeprefix("raw ").split()
        if parameter.startswith("raw ") or called == "pixel" or called in IMAGES:
            value = pixels if called == "pixel" else (numbers | images)[called]
            spread = value if value.ndim == 1 else np.broadcast_to(value, pixels.shape)
            held.append(np.ascontiguousarray(spread))
            arguments.append(held[-1].ctypes.data_as(ctypes.c_void_p))
        else:
            # A number that is the same for all is one of the type, as CuPy passes it.
            arguments.append(simple[kind](numbers.get(called, 1)))
    arguments += [found.ctypes.data_as(ctypes.c_void_p), ctypes.c_ssize_t(found.size)]

    getattr(compiled, f"kernel_{number}")(*arguments)

    np.testing.assert_array_equal(found, expected)


def test_the_kernels_compile_for_a_gpu(tmp_path: Path) -> None:
    """With NVIDIA's compiler, which needs no device; nothing is run."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("there is no nvcc")
    source, made = tmp_path / "kernels.cu", tmp_path / "kernels.ptx"
    source.write_text(cuda_text())

    done = subprocess.run(
        [nvcc, "-std=c++17", "-ptx", "-Werror", "all-warnings", "-o", made, source],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert made.read_text().count(".visible .entry kernel_") == len(CASES)


def test_every_kernel_is_a_function_of_a_pixel_in_the_source() -> None:
    """And every formula has a case here."""
    assert {name for name, *_ in CASES} == set(KERNELS)
    assert all(f" {name}(T pixel" in SOURCE.read_text() for name in KERNELS)


@pytest.fixture
def camera(rng: np.random.Generator) -> dict[str, xr.DataArray]:
    """Give frames as a camera made them, and what it does to the light."""
    shape = (30, 41)
    dark, response = rng.uniform(90, 110, shape), rng.uniform(0.5, 1.5, shape)
    light = rng.uniform(0, 900, (5, *shape))
    frames = (dark + response * light).astype(np.uint16)
    return {
        "frames": xr.DataArray(frames, dims=("t", "y", "x"), attrs={"camera": "A7"}),
        "dark": xr.DataArray(dark.astype("f4"), dims=("y", "x")),
        "flat": xr.DataArray((dark + 500 * response).astype("f4"), dims=("y", "x")),
    }


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", [None, "uint8"])
@pytest.mark.parametrize("threshold", [None, 60.0])
def test_a_camera_is_corrected_in_one_pass_as_in_many(
    camera: dict[str, xr.DataArray], lazy: bool, dtype: str | None, threshold: float | None
) -> None:
    """The dark, the flat, the gain, the threshold and the type, one after the other."""
    frames, dark, flat = camera["frames"], camera["dark"], camera["flat"]
    expected = to_electrons(flat_field(frames, flat=flat, dark=dark), gain=0.3)
    if threshold is not None:
        expected = sparsify(expected, threshold=threshold)
    if dtype is not None:
        expected = as_integers(expected, dtype=dtype)
    given = frames.chunk({"t": 2}) if lazy else frames

    found = correct_camera(given, dark=dark, flat=flat, gain=0.3, threshold=threshold, dtype=dtype)

    assert found.dtype == (dtype or np.float32)
    assert found.attrs == {"camera": "A7", "units": "electron"}
    assert (found.chunks is None) is not lazy
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1 if dtype else 0)


def test_a_dead_pixel_is_missing_or_zero(camera: dict[str, xr.DataArray]) -> None:
    """Where the flat is no brighter than the dark: NaN, which an integer type cannot hold."""
    frames, dark, flat = camera["frames"], camera["dark"], camera["flat"]
    flat[3, 4] = dark[3, 4]
    assert bool(correct_camera(frames, dark=dark, flat=flat)[:, 3, 4].isnull().all())
    assert not correct_camera(frames, dark=dark, flat=flat, dtype="uint16")[:, 3, 4].any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "nothing is to be done"),
        ({"gain": 0}, "gain is 0"),
        ({"threshold": -1}, "threshold is -1"),
        ({"dtype": "float32"}, "must be an integer type"),
        ({"dark": xr.DataArray(np.ones((30, 40)), dims=("y", "x"))}, "dark does not lie on"),
    ],
)
def test_what_cannot_be_corrected_is_refused(
    camera: dict[str, xr.DataArray], parameters: dict[str, Any], message: str
) -> None:
    """An image of another size, a number out of range, or nothing at all."""
    with pytest.raises(OperationError, match=message):
        correct_camera(camera["frames"], **parameters)
