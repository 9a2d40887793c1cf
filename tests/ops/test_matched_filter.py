"""Known shapes in noise: `matched_filter` and `cell_averaging_cfar`."""

from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import xarray as xr

from forebay.ops import OperationError, cell_averaging_cfar, matched_filter
from forebay.ops.detection import matched
from forebay.ops.detection.false_alarms import exponential_factor, gaussian_factor

TEMPLATE = np.exp(-np.add.outer(np.arange(-2, 3) ** 2, np.arange(-1, 2) ** 2) / 2.0)


def as_frames(values: npt.NDArray[Any]) -> xr.DataArray:
    """Return a stack of frames."""
    return xr.DataArray(values, dims=("t", "y", "x"))


def by_loop(
    frame: npt.NDArray[Any], template: npt.NDArray[Any], guard: int, training: int
) -> npt.NDArray[np.float64]:
    """Return the ratio of one pixel after the other, by the formula."""
    h = template / np.sqrt((template**2).sum())
    high, wide = template.shape[0] // 2, template.shape[1] // 2
    edge = guard + training
    result = np.full(frame.shape, np.nan)
    for y in range(high + edge, frame.shape[0] - high - edge):
        for x in range(wide + edge, frame.shape[1] - wide - edge):
            ring = np.ones((2 * (high + edge) + 1, 2 * (wide + edge) + 1), bool)
            ring[training:-training, training:-training] = False
            around = frame[
                y - high - edge : y + high + edge + 1, x - wide - edge : x + wide + edge + 1
            ]
            cells = around[ring]
            signal = (h * frame[y - high : y + high + 1, x - wide : x + wide + 1]).sum()
            signal -= h.sum() * cells.mean()
            result[y, x] = signal / (cells.std(ddof=1) * np.sqrt(1 + h.sum() ** 2 / cells.size))
    return result


def test_it_is_the_formula_pixel_by_pixel(rng: np.random.Generator) -> None:
    """A loop in float64 gives the same values to 1e-9, float32 is within 1e-5 of the largest."""
    values = rng.normal(1000, 5, (2, 21, 24))

    found = matched_filter(as_frames(values), template=TEMPLATE, guard=2, training=3)
    single = matched_filter(
        as_frames(values.astype("float32")), template=7 * TEMPLATE, guard=2, training=3
    )

    expected = [by_loop(frame, TEMPLATE, 2, 3) for frame in values]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(single, expected, atol=2e-4)


@pytest.mark.parametrize(("level", "noise"), [(0.0, 1.0), (5000.0, 40.0)])
def test_noise_passes_at_the_stated_rate(
    rng: np.random.Generator, level: float, noise: float
) -> None:
    """Whatever ground and noise are, false alarms are as many as stated, within four deviations."""
    frames = as_frames(rng.normal(level, noise, (16, 160, 160)).astype("float32"))

    for rate in (1e-2, 1e-3):
        found = matched_filter(
            frames, template=TEMPLATE, guard=0, training=2, false_alarm_rate=rate
        ).values
        # Neighbours share most of their pixels: only those that share none count as trials.
        trials = found[:, 4:-4:9, 4:-4:7].ravel()
        trials = trials[np.isfinite(trials)]
        expected = rate * trials.size
        assert abs((trials > 0).sum() - expected) < 4 * np.sqrt(expected)
        # All of them have the same rate, but less certain.
        inside = found[np.isfinite(found)]
        assert (inside > 0).mean() == pytest.approx(rate, rel=0.15)


def test_the_ratio_of_noise_is_students() -> None:
    """Independent trials of noise have Student's distribution with few training pixels, too."""
    noise = np.random.default_rng(3).normal(size=(40, 99, 99))

    found = matched_filter(as_frames(noise), template=np.ones((1, 1)), guard=0, training=1)

    trials = found.values[:, 1:-1:3, 1:-1:3].ravel()
    assert np.isfinite(trials).all()
    assert scipy.stats.kstest(trials, scipy.stats.t(7).cdf).pvalue > 0.01


@pytest.mark.parametrize("cells", [2, 8, 10_000])
def test_thresholds_are_right_for_the_smallest_rates(cells: int) -> None:
    """Scipy's distributions exceed the factors at the rate, to 1e-6 of it, down to 1e-15."""
    for rate in (0.5, 1e-3, 1e-15):
        student, power = gaussian_factor(rate, cells), exponential_factor(rate, cells)

        assert scipy.stats.t(cells - 1).sf(student) == pytest.approx(rate, rel=1e-6)
        # A sample over the mean of others, all exponential, has the F distribution.
        assert scipy.stats.f(2, 2 * cells).sf(power) == pytest.approx(rate, rel=1e-6)


def test_exponential_noise_passes_at_the_stated_rate(rng: np.random.Generator) -> None:
    """Power of noise exceeds the threshold of cell averaging as often as stated."""
    frames = as_frames(rng.exponential(7.0, (16, 160, 160)))

    for rate in (1e-2, 1e-3):
        found = cell_averaging_cfar(frames, guard=1, training=2, false_alarm_rate=rate).values
        inside = found[np.isfinite(found)]
        expected = rate * inside.size
        # Each pixel is a trial of its own; their estimates of the noise overlap.
        assert abs((inside > 0).sum() - expected) < 6 * np.sqrt(expected)
    kept = found[0] > 0
    ring = [
        frames.values[0, y - 3 : y + 4, x - 3 : x + 4].sum()
        - frames.values[0, y - 1 : y + 2, x - 1 : x + 2].sum()
        for y, x in np.argwhere(kept)
    ]
    np.testing.assert_allclose(found[0][kept], frames.values[0][kept] / np.array(ring) * 40)


def test_a_spot_is_found_where_it_is(rng: np.random.Generator) -> None:
    """A spot of the template's shape stands out by its energy over the noise."""
    values = rng.normal(100, 2, (1, 60, 60))
    values[0, 28:33, 39:42] += 20 * TEMPLATE

    found = matched_filter(as_frames(values), template=TEMPLATE, false_alarm_rate=1e-6)

    best = found.fillna(0).argmax(...)
    assert (int(best["y"]), int(best["x"])) == (30, 40)
    energy = 20 * np.sqrt((TEMPLATE**2).sum()) / 2
    assert float(found.max()) == pytest.approx(energy, rel=0.25)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_edges_and_gaps_have_no_value(rng: np.random.Generator, value: float) -> None:
    """Where training pixels are missing or not finite is no ratio, and elsewhere there is."""
    values = rng.normal(0, 1, (1, 30, 30))
    values[0, 15, 15] = value

    found = matched_filter(as_frames(values), template=np.ones((3, 3)), guard=1, training=2)

    unknown = np.isnan(found.values[0])
    assert unknown[:4].all()
    assert unknown[:, -4:].all()
    assert unknown[11:20, 11:20].all()
    assert unknown.sum() == 30**2 - 22**2 + 81


def test_an_even_frame_holds_nothing() -> None:
    """Without noise there is no signal either; a spot in it stands out without end."""
    frames = as_frames(np.full((2, 20, 20), 100, np.uint16))
    frames[1, 10, 10] = 101

    found = matched_filter(frames, template=np.ones((1, 1)), false_alarm_rate=1e-3)

    assert not found[0].fillna(0).any()
    assert found[1, 10, 10] == np.inf


def test_chunks_do_not_show(frames: xr.DataArray) -> None:
    """Seams within frames change results by rounding only."""
    cut = frames.chunk({"t": 3, "y": 11, "x": 13})
    for false_alarm_rate in (None, 1e-2):
        options: dict[str, Any] = {"template": TEMPLATE, "false_alarm_rate": false_alarm_rate}
        np.testing.assert_allclose(
            matched_filter(cut, **options).compute(), matched_filter(frames, **options), rtol=1e-5
        )
    power = cell_averaging_cfar(cut, false_alarm_rate=0.2)
    assert isinstance(power.data, da.Array)
    xr.testing.assert_allclose(power.compute(), cell_averaging_cfar(frames, false_alarm_rate=0.2))
    assert power.dtype == np.float32
    assert cell_averaging_cfar(frames.astype("f8"), false_alarm_rate=0.2).dtype == np.float64


def test_it_is_the_same_in_each_library(
    xp: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The block functions give on any device what they give in NumPy."""
    values = rng.exponential(9, (2, 20, 22))
    options: dict[str, Any] = {"outer": (4, 3), "axes": (1, 2), "result": "float32"}

    cases: list[tuple[Any, dict[str, Any]]] = [
        (matched.template_ratio, {"template": TEMPLATE, "inner": (3, 2), "threshold": None}),
        (matched.power_ratio, {"inner": (1, 1), "threshold": 1.5}),
    ]
    for function, more in cases:
        found = xp.host(function(xp.array(values), **more, **options))
        np.testing.assert_allclose(found, function(values, **more, **options), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": np.ones((2, 3))}, r"template has the shape \(2, 3\)"),
        ({"template": np.ones(3)}, r"template has the shape \(3,\)"),
        ({"template": np.zeros((3, 3))}, "template must be finite and not all zero"),
        ({"template": [[np.nan]]}, "template must be finite"),
        ({"template": "spot"}, "template is a str"),
        ({"template": [[1j]]}, "template is a list"),
        ({"guard": -1}, "guard is -1"),
        ({"training": 0}, "training is 0"),
        ({"training": 14}, "needs at least"),
        ({"false_alarm_rate": 0}, "false_alarm_rate is 0"),
        ({"false_alarm_rate": 1.0}, "but must be below 1"),
        ({"dims": ()}, "dims is empty|template has the shape"),
    ],
)
def test_what_cannot_be_matched_is_refused(
    frames: xr.DataArray, options: dict[str, Any], message: str
) -> None:
    """A parameter that does not fit is named in the error."""
    with pytest.raises(OperationError, match=message):
        matched_filter(frames, **{"template": np.ones((3, 3)), **options})
