"""What light of point emitters falls on each pixel."""

import math

import numpy as np
import numpy.typing as npt

_REACH = 5.0  # in sigmas: less than a millionth of the light lies further out along an axis


def expected_photons(
    shape: tuple[int, int],
    positions: npt.NDArray[np.float64],
    photons: npt.NDArray[np.float64],
    sigma: float,
    background: float,
) -> npt.NDArray[np.float64]:
    """Return the mean number of photons in each pixel.

    Parameters
    ----------
    shape
        Height and width of the frame, pixels.
    positions
        Of the emitters, (n, 2): y and x in pixels, 0 in the middle of the first pixel.  Those
        outside the frame shine into it as far as they reach.
    photons
        That each emitter sends to the camera, over all pixels.
    sigma
        Standard deviation of the Gaussian that an emitter's image is, pixels.
    background
        Photons in each pixel that come from no emitter.

    Returns
    -------
    ndarray
        Float64 of the given shape.

    Notes
    -----
    The Gaussian is integrated over each pixel, which makes a factor

        E(i) = ½ [erf((i − c + ½) / (√2 σ)) − erf((i − c − ½) / (√2 σ))]

    along each axis for an emitter at c: Smith, Joseph, Rieger and Lidke, Nature Methods 7, 373
    (2010), equation 4.  Light beyond 5 σ is left out.

    Examples
    --------
    >>> image = expected_photons((9, 9), np.array([[4.0, 4.0]]), np.array([100.0]), 1.0, 0.0)
    >>> round(float(image.sum()), 2), round(float(image[4, 4]), 2)
    (100.0, 14.66)
    """
    image = np.full(shape, background, np.float64)
    reach = math.ceil(_REACH * sigma)
    first = np.rint(positions).astype(np.int64) - reach
    along = _integrals(positions, first, 2 * reach + 1, sigma)
    for corner, (down, across), number in zip(first, along, photons, strict=True):
        rows = slice(max(0, -corner[0]), max(0, shape[0] - corner[0]))
        columns = slice(max(0, -corner[1]), max(0, shape[1] - corner[1]))
        down, across = down[rows], across[columns]
        if down.size and across.size:
            y, x = np.maximum(corner, 0)
            image[y : y + down.size, x : x + across.size] += number * np.outer(down, across)
    return image


def _integrals(
    positions: npt.NDArray[np.float64], first: npt.NDArray[np.int64], width: int, sigma: float
) -> npt.NDArray[np.float64]:
    """Return the factors E of `width` pixels from `first` on: (n, 2, width)."""
    from scipy.special import erf  # scipy is loaded where a scene is rendered, not before

    edges = first[..., None] + np.arange(width + 1) - 0.5
    steps = erf((edges - positions[..., None]) / (math.sqrt(2) * sigma)) / 2
    integrals: npt.NDArray[np.float64] = np.diff(steps, axis=-1)
    return integrals
