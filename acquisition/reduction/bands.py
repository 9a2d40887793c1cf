"""Rows of a frame that are worked on together, few enough to stay in the processor's cache."""

from collections.abc import Sequence

from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.operations.operation import PixelOperation, Pixels, planes

BAND_PIXELS = 2**18
"""Most pixels of a band at any place in a chain; a frame of 2048 × 2048 has 16 such bands."""


def bands(rows: int, pixels_per_row: int) -> list[slice]:
    """Return how so many rows are divided.

    Parameters
    ----------
    rows
        Rows of a plane.
    pixels_per_row
        Pixels that a row costs.

    Examples
    --------
    >>> bands(5, BAND_PIXELS // 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    height = min(rows, max(1, BAND_PIXELS // pixels_per_row))
    return [slice(start, min(start + height, rows)) for start in range(0, rows, height)]


class BandedOperations:
    """Steps on pixels, one after the other, over a band at a time.

    Parameters
    ----------
    operations
        The steps, each fitted to what the one before gives; at least one.
    """

    def __init__(self, operations: Sequence[PixelOperation]) -> None:
        self.operations = tuple(operations)
        self.geometry: Geometry = self.operations[-1].geometry
        cost = max(
            (rows.stop - rows.start) * columns
            for rows, columns in zip(
                self._rows(slice(0, 1)),
                [self.operations[0].given.shape[-1]]
                + [operation.geometry.shape[-1] for operation in self.operations],
                strict=True,
            )
        )
        self._bands = [self._rows(rows) for rows in bands(self.geometry.shape[-2], cost)]
        self._between: list[Pixels] = []
        for operation, rows in zip(self.operations, self._bands[0][1:], strict=True):
            height = rows.stop - rows.start
            operation.prepare(height)
            self._between.append(operation.work(height, operation.geometry.dtype))
        # The last step writes where the caller wants the result.
        self._between.pop()

    def run(self, source: Pixels, target: Pixels) -> None:
        """Make the frame `target` of the frame `source`; they must not share memory."""
        for plane, (rows_in, rows_out) in enumerate(
            zip(planes(source), planes(target), strict=True)
        ):
            for band in self._bands:
                self._run_band(rows_in[band[0]], rows_out[band[-1]], plane, band)

    def _run_band(self, current: Pixels, target: Pixels, plane: int, band: list[slice]) -> None:
        for operation, buffer, rows in zip(self.operations, self._between, band[1:], strict=False):
            result = buffer[: rows.stop - rows.start]
            operation.apply(current, result, plane, rows)
            current = result
        self.operations[-1].apply(current, target, plane, band[-1])

    def _rows(self, rows: slice) -> list[slice]:
        """Return the rows of the source, and of what each step gives, that make `rows`."""
        found = [rows]
        for operation in reversed(self.operations):
            found.insert(0, operation.source_rows(found[0]))
        return found
