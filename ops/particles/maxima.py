"""The pixels that outshine their neighbourhood, to start the search for a centre from."""

from array_api_compat import device

from forebay.ops._arrays import Array, in_place_at, namespace, ndimage


def local_maxima(
    image: Array, *, window: int, margin: int, percentile: float
) -> tuple[Array, Array, Array]:
    """Return frame, y and x of the pixels that are the largest in a square around them.

    Parameters
    ----------
    image : (n, y, x)
        Nowhere negative; NumPy or CuPy.
    window
        Side of the square, pixels; an even one reaches one pixel further down and right.
    margin
        No maximum is taken nearer to the edge than this.
    percentile
        A maximum is above this percentile of its frame's positive pixels.
    """
    xp, filters = namespace(image), ndimage(image)
    largest = image
    for axis in (-2, -1):
        largest = filters.maximum_filter1d(
            largest, window, axis=axis, mode="constant", origin=window % 2 - 1
        )
    threshold = positive_percentile(image, percentile)[:, None, None]
    peaks = (image == largest) & (image > threshold)
    inside = peaks[:, margin : image.shape[1] - margin, margin : image.shape[2] - margin]
    frame, y, x = xp.nonzero(inside)
    return frame, y + margin, x + margin


def positive_percentile(image: Array, percentile: float) -> Array:
    """Return a percentile of each frame's positive values, interpolated; 0 where there is none.

    Shapes are (n, y, x) in and (n,) out. The zeros would stand first in a sorted frame, so that
    ranks among the positive values count from its end.
    """
    xp, where = namespace(image), device(image)
    flat = xp.reshape(image, (image.shape[0], -1))
    size = flat.shape[1]
    positive = xp.sum(xp.astype(image > 0, xp.int64), axis=(-2, -1))
    rank = xp.astype(positive - 1, xp.float64) * (percentile / 100)
    low = xp.astype(xp.floor(rank), xp.int64)
    part = xp.astype(rank - xp.floor(rank), image.dtype)
    first = size - positive + low
    steps = xp.asarray([0, 1], dtype=xp.int64, device=where)
    index = xp.clip(first[:, None] + steps, 0, size - 1)
    # Of each frame two values are wanted: it need not be sorted for them.
    ranked = [
        in_place_at(flat[frame, :], int(index[frame, 0]), int(index[frame, 1]))
        for frame in range(flat.shape[0])
    ]
    around = xp.stack(
        [xp.take(values, index[frame, :], axis=0) for frame, values in enumerate(ranked)]
    )
    return around[:, 0] + part * (around[:, 1] - around[:, 0])
