"""Operations on the command line."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from tests.cli.conftest import Forebay

from forebay import ExitCode, acquire, open_source
from forebay.cli.comparison import draw_comparison


@pytest.fixture
def cell(forebay: Forebay, tmp_path: Path) -> str:
    with open_source("simulated:emitters=5,shape=48x48", frames=6) as source:
        acquire(source, tmp_path / "cell", frames_per_block=3)
    return "cell"


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        low, high = image.convert("L").getextrema()
        assert low != high, "it shows something"
        return image.size


def test_operations_are_listed(forebay: Forebay) -> None:
    """As a table, and with their parameters for machines."""
    assert "richardson_lucy" in forebay("ops", "list").out
    found = {each["name"]: each for each in forebay("ops", "list", "--json").json}
    assert found["bandpass"]["family"] == "filters"
    assert found["bandpass"]["parameters"]["background_sigma"] == {"type": "number"}


def test_types_are_told_as_one_writes_them(forebay: Forebay) -> None:
    """No name of a module or of a class of Python's is in them."""
    listed = forebay("ops", "list", "--json").json
    found = {(op["name"], name): told for op in listed for name, told in op["parameters"].items()}
    assert found["background", "method"] == {"type": "'median' or 'mean'", "default": "median"}
    assert found["background", "sample"] == {"type": "whole number or null", "default": None}
    assert found["bandpass", "dims"] == {"type": "list of names", "default": ["y", "x"]}
    assert found["bin_pixels", "factor"]["type"] == "whole number or list of 2 whole numbers"
    assert found["centroid", "positions"]["type"] == "table"
    shown = " ".join(told["type"] for told in found.values())
    assert not re.search(r"[.\[\]<>|]|collections|class|typing", shown)


@pytest.mark.parametrize(
    "words",
    [
        ("bandpass", "-p", "background_sigma=4", "-p", "noise_sigma=1.5"),
        ("find_particles", "-p", "diameter=7"),
        ("running_median", "-p", "window=3", "--around", "1"),
        ("otsu_threshold",),
        ("power_spectrum",),
    ],
    ids=lambda words: words[0],
)
def test_one_is_tried_on_a_frame(
    forebay: Forebay, cell: str, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Images, tables, values and spectra: the picture shows the frame before and after."""
    name, *rest = words
    told = forebay("ops", "try", name, cell, "--frame", "2", *rest)
    assert told.code == 0, told.err
    assert told.out == f"{name}-2.png shows frame 2 before and after {name}\n"
    assert min(size_of(tmp_path / f"{name}-2.png")) > 300


def test_values_far_apart_are_shown_by_their_logarithms(tmp_path: Path) -> None:
    """A spectrum would be a bright point in the dark; and the picture has the frame's proportions."""
    wide = xr.DataArray(np.full((20, 80), 100.0), dims=("y", "x"), coords={"t": 0})
    drawn = [wide.copy(data=wide * 10.0 ** np.linspace(0, powers, 80)) for powers in (1, 12)]
    for each, name in zip(drawn, ("near", "far"), strict=True):
        draw_comparison(tmp_path / f"{name}.png", wide, each, title=name)
    with Image.open(tmp_path / "far.png") as far, Image.open(tmp_path / "near.png") as near:
        assert far.width > 2 * far.height
        row = np.asarray(far.convert("L"))[far.height // 2, far.width // 2 :]
        assert len(np.unique(row)) > 30, "it goes from dark to bright"
        assert near.size == far.size


def test_the_picture_goes_where_it_is_told(forebay: Forebay, cell: str, tmp_path: Path) -> None:
    told = forebay("ops", "try", "median_filter", cell, "-p", "size=3", "--picture", "new/a.png")
    assert told.code == 0, told.err
    assert min(size_of(tmp_path / "new" / "a.png")) > 300


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("bandpas",), "there is no operation 'bandpas'; did you mean 'bandpass'?"),
        (("bandpass",), "bandpass needs the parameter 'background_sigma': give it with -p"),
        (
            ("bandpass", "-p", "sigma=2"),
            "bandpass has no parameter 'sigma'; did you mean 'noise_sigma'?; it has noise_sigma",
        ),
        (("bandpass", "-p", "background_sigma=wide"), "background_sigma is 'wide', but must be"),
        (("median_filter", "-p", "size=3", "--frame", "6"), "there is no frame 6"),
    ],
)
def test_mistakes_are_told_in_one_line(
    forebay: Forebay, cell: str, tmp_path: Path, words: tuple[str, ...], wrong: str
) -> None:
    name, *rest = words
    refused = forebay("ops", "try", name, cell, *rest)
    assert refused.code == ExitCode.USAGE
    assert wrong in refused.error
    assert list(tmp_path.glob("*.png")) == []
