"""The image that particles are looked for in: band-passed, clipped, brightest at its gamut."""

from array_api_compat import device

from forebay.ops._arrays import Array, as_real, namespace, ndimage
from forebay.ops.filters.gaussian import gaussian

TRUNCATE = 4.0
"""Where the noise Gaussian ends, in standard deviations."""

NUDGE = 2.0**-22
"""Twice the rounding of float32: without it the brightest pixel can end one step below `gamut`."""


def particle_image(
    stack: Array,
    *,
    noise_sigma: float,
    window: int,
    threshold: float,
    invert: bool,
    gamut: float | None,
) -> tuple[Array, Array, Array | None]:
    """Return what stands out of each frame, the factor that it was multiplied by, and the gaps.

    Parameters
    ----------
    stack : (n, y, x)
        Frames; NumPy or CuPy.
    noise_sigma
        Of the Gaussian that smooths noise, pixels.
    window
        Side of the square that the background is averaged over, pixels, odd.
    threshold
        Less than this above the background is nothing.
    invert
        Whether particles are darker than their ground.
    gamut
        What the brightest pixel of a frame becomes, in steps of one; None neither scales nor
        rounds, here and in the background.

    Returns
    -------
    image : (n, y, x)
        Float32 or float64, nowhere negative.
    scale : (n,)
        Float64.
    unknown : (n, y, x) or None
        Where a NaN or infinite pixel is within reach of the filters, and `image` is zero; None
        where there is no such pixel.
    """
    xp = namespace(stack)
    real = as_real(stack)
    unknown = None
    if xp.isdtype(stack.dtype, "real floating") and not bool(xp.all(xp.isfinite(real))):
        reach = max(window // 2, int(TRUNCATE * noise_sigma + 0.5))
        unknown = spread(~xp.isfinite(real), reach)
        real = xp.where(xp.isfinite(real), real, xp.zeros_like(real))
    if invert:
        real = -real
    smooth = gaussian(real, sigma=noise_sigma, truncate=TRUNCATE, axes=(-2, -1))
    image = smooth - moving_average(real, window, rounded=gamut is not None)
    image = xp.where(image >= threshold, image, xp.zeros_like(image))
    if unknown is not None:
        image = xp.where(unknown, xp.zeros_like(image), image)
    if gamut is None:
        return image, xp.ones(stack.shape[0], dtype=xp.float64, device=device(stack)), unknown
    brightest = xp.astype(xp.max(image, axis=(-2, -1)), xp.float64)
    scale = gamut / xp.where(brightest > 0, brightest, xp.ones_like(brightest) * gamut)
    factor = xp.astype(scale * (1 + NUDGE), image.dtype)
    return xp.floor(image * factor[:, None, None]), scale, unknown


def moving_average(array: Array, window: int, *, rounded: bool) -> Array:
    """Return the mean over a square, each axis in turn; rounded down after each if so asked."""
    xp, filters = namespace(array), ndimage(array)
    ones = xp.ones(window, dtype=xp.float64, device=device(array))
    for axis in (-2, -1):
        array = filters.correlate1d(array, ones, axis=axis, mode="nearest") / window
        array = xp.floor(array) if rounded else array
    return array


def spread(mask: Array, reach: int) -> Array:
    """Return `mask` grown by `reach` pixels along y and x, corners included."""
    xp, filters = namespace(mask), ndimage(mask)
    grown = xp.astype(mask, xp.uint8)
    for axis in (-2, -1):
        grown = filters.maximum_filter1d(grown, 2 * reach + 1, axis=axis, mode="constant")
    return xp.astype(grown, xp.bool)
