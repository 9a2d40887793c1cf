"""The likelihood of Gaussian spots in photon noise, climbed for all spots at once."""

import math
from typing import NamedTuple

from array_api_compat import device

from forebay.ops._arrays import Array, namespace, special
from forebay.ops.localisation.spots import offsets_from_middle, rim_median

STEPS = 100
"""A fit that has not converged by then is given up."""

CLOSE = 1e-6
"""A fit has converged when no parameter changes by more than this of its bound of error."""

LEAST = 1e-6
"""Photons and background stay above."""

NARROWEST = 0.3
"""A fitted standard deviation stays above, in pixels."""


class Model(NamedTuple):
    """What a spot is expected to look like, and how this changes with its parameters."""

    mean: Array
    """Photons of each pixel, (spots, pixels)."""
    slope: Array
    """Of the mean by each parameter, (spots, parameters, pixels)."""


def fitted(
    windows: Array, *, sigma: float | None, gain: float, offset: float, variance: float
) -> dict[str, Array]:
    """Return the most likely parameters of windows (spots, side, side), and their bounds.

    Places count from the middle of a window. All is NaN where the fit does not converge.
    """
    xp = namespace(windows)
    light = (windows - offset) * gain
    side = windows.shape[-1]
    photons = xp.clip(xp.reshape(light, (-1, side * side)) + variance, 0, None)
    place = offsets_from_middle(windows)
    values, converged = climbed(photons, start(light, sigma), place, sigma, variance)
    model = spot_model(values, place, sigma, variance)
    bounds = xp.sqrt(xp.clip(diagonal(xp.linalg.inv(guarded(information(model)))), 0, None))
    names = ["y", "x", "photons", "background", "sigma"][: values.shape[1]]
    found = {name: values[:, index] for index, name in enumerate(names)}
    found |= {f"{name}_error": bounds[:, index] for index, name in enumerate(names)}
    if sigma is not None:
        found["sigma"] = xp.full_like(values[:, 0], sigma)
    counted = xp.where(photons > 0, photons, xp.ones_like(photons))
    perfect = xp.sum(xp.where(photons > 0, photons * xp.log(counted), photons) - photons, axis=1)
    found["deviance"] = 2 * (perfect + loss(photons, model.mean))
    none = xp.full_like(values[:, 0], xp.nan)
    return {name: xp.where(converged, each, none) for name, each in found.items()}


def start(light: Array, sigma: float | None) -> Array:
    """Return parameters to begin with: (spots, 4), or 5 if sigma is to be found."""
    xp = namespace(light)
    place = offsets_from_middle(light)
    ground = xp.clip(rim_median(light), LEAST, None)
    above = xp.clip(light - ground[:, None, None], 0, None)
    total = xp.clip(xp.sum(above, axis=(1, 2)), 1.0, None)
    y = xp.sum(above * place[:, None], axis=(1, 2)) / total
    x = xp.sum(above * place, axis=(1, 2)) / total
    columns = [y, x, total, ground]
    if sigma is None:
        apart = (place[:, None] - y[:, None, None]) ** 2 + (place - x[:, None, None]) ** 2
        spread = xp.sqrt(xp.sum(above * apart, axis=(1, 2)) / (2 * total))
        columns.append(xp.clip(spread, 2 * NARROWEST, light.shape[-1] / 4))
    return xp.stack(columns, axis=1)


def climbed(
    photons: Array, values: Array, place: Array, sigma: float | None, variance: float
) -> tuple[Array, Array]:
    """Return the most likely parameters, and whether they were reached."""
    xp, where = namespace(photons), device(photons)
    count = values.shape[1]
    reach = float(place.shape[0] // 2)
    low = [-reach, -reach, LEAST, LEAST, NARROWEST][:count]
    high = [reach, reach, xp.inf, xp.inf, reach][:count]
    low, high = (xp.asarray(each, dtype=xp.float64, device=where) for each in (low, high))
    damping = xp.full(values.shape[0], 1e-3, dtype=xp.float64, device=where)
    done = xp.zeros(values.shape[0], dtype=xp.bool, device=where)
    values = xp.clip(values, low, high)
    model = spot_model(values, place, sigma, variance)
    here = loss(photons, model.mean)
    unit = xp.eye(count, dtype=xp.float64, device=where)
    for _ in range(STEPS):
        known = guarded(information(model))
        pull = xp.sum(model.slope * (photons / model.mean - 1)[:, None, :], axis=2)
        # At an end of its range, a parameter that is drawn beyond it stays.
        held = ((values <= low) & (pull < 0)) | ((values >= high) & (pull > 0))
        free = xp.astype(~held, xp.float64)
        damped = known + unit * (damping[:, None] * diagonal(known))[:, None, :]
        damped = damped * free[:, :, None] * free[:, None, :] + unit * (1 - free)[:, None, :]
        step = xp.linalg.solve(damped, (pull * free)[:, :, None])[:, :, 0]
        trial = xp.where(done[:, None], values, xp.clip(values + step, low, high))
        there_model = spot_model(trial, place, sigma, variance)
        there = loss(photons, there_model.mean)
        # Near the top the likelihood changes by less than its rounding.
        better = there <= here + 1e-12 * xp.abs(here)
        moved = xp.abs(trial - values) * xp.sqrt(diagonal(known))
        done = done | (better & xp.all(moved <= CLOSE, axis=1))
        damping = xp.clip(xp.where(better, damping / 10, damping * 10), 1e-9, 1e9)
        values = xp.where(better[:, None], trial, values)
        here = xp.where(better, there, here)
        model = Model(
            xp.where(better[:, None], there_model.mean, model.mean),
            xp.where(better[:, None, None], there_model.slope, model.slope),
        )
        if bool(xp.all(done)):
            break
    return values, done


def spot_model(values: Array, place: Array, sigma: float | None, variance: float) -> Model:
    """Return the mean of each pixel and its slopes for parameters (spots, 4 or 5)."""
    xp = namespace(values)
    photons, ground = (values[:, index, None, None] for index in (2, 3))
    width = xp.full_like(values[:, 0], sigma) if sigma is not None else values[:, 4]
    across = pixel_share(place, values[:, 0], width)
    along = pixel_share(place, values[:, 1], width)
    share_y, by_y, wide_y = (each[:, :, None] for each in across)
    share_x, by_x, wide_x = (each[:, None, :] for each in along)
    shape = share_y * share_x
    slopes = [photons * by_y * share_x, photons * share_y * by_x, shape, xp.ones_like(shape)]
    if sigma is None:
        slopes.append(photons * (wide_y * share_x + share_y * wide_x))
    pixels = shape.shape[1] * shape.shape[2]
    mean = photons * shape + ground + variance
    return Model(
        xp.reshape(mean, (-1, pixels)),
        xp.reshape(xp.stack(slopes, axis=1), (-1, len(slopes), pixels)),
    )


def pixel_share(place: Array, centre: Array, width: Array) -> tuple[Array, Array, Array]:
    """Return which part of a Gaussian each pixel holds along one axis, and its slopes.

    By the centre and by the width; shapes are (pixels,), (spots,) and (spots,) in, (spots,
    pixels) out.
    """
    xp, functions = namespace(place), special(place)
    wide = width[:, None]
    before, after = ((place + side - centre[:, None]) / wide for side in (-0.5, 0.5))
    share = 0.5 * (functions.erf(after / math.sqrt(2)) - functions.erf(before / math.sqrt(2)))
    one, other = (xp.exp(-0.5 * each**2) / math.sqrt(2 * math.pi) for each in (before, after))
    return share, (one - other) / wide, (before * one - after * other) / wide


def loss(photons: Array, mean: Array) -> Array:
    """Return the negative logarithm of the likelihood of each spot, but for a constant."""
    xp = namespace(photons)
    return xp.sum(mean - photons * xp.log(mean), axis=1)


def information(model: Model) -> Array:
    """Return the Fisher matrix of each spot."""
    xp = namespace(model.mean)
    return xp.matmul(model.slope / model.mean[:, None, :], xp.matrix_transpose(model.slope))


def diagonal(matrices: Array) -> Array:
    """Return the diagonal of each matrix."""
    xp = namespace(matrices)
    index = xp.arange(matrices.shape[-1], device=device(matrices))
    return xp.stack([matrices[:, at, at] for at in range(index.shape[0])], axis=1)


def guarded(matrices: Array) -> Array:
    """Return `matrices` with a diagonal that keeps them from being singular."""
    xp = namespace(matrices)
    unit = xp.eye(matrices.shape[-1], dtype=xp.float64, device=device(matrices))
    return matrices + unit * (1e-12 * diagonal(matrices) + 1e-300)[:, None, :]
