"""The decorator that makes an algorithm of a function."""

from collections.abc import Callable

from forebay.engine.definition import Algorithm, Blockwise, Function, Needs, Scratch
from forebay.engine.registry import REGISTRY


def algorithm(
    name: str,
    *,
    version: str,
    needs: Needs | None = None,
    scratch: Scratch | None = None,
    divisible: bool = False,
    eager: bool = False,
) -> Callable[[Function], Algorithm]:
    """Declare a function to be an algorithm, and register it.

    The function takes a DataArray of frames first, a lazy one unless it is declared `eager`, and its parameters by keyword, each with a
    type; it returns an xarray object or a table (`pandas.DataFrame` or `pyarrow.Table`).  It is
    used unchanged, eagerly, live and in batch.

    Parameters
    ----------
    name
        Lower-case words joined by hyphens.
    version
        Three numbers.
    needs
        `Blockwise` (the default: block by block, without a halo), `WholeRun`, or `Sequential`
        (block by block in their order, with a state that is carried on).
    scratch
        How many bytes a worker needs beside the frames that it sees: a function that gets the
        frames, whose values mean nothing, and the parameters by keyword. No more units are handed
        out than their frames and this have room in the workers' memory. `forebay.ops.scratch_bytes`
        tells it of operations.
    divisible
        Whether what is returned of a frame depends on that frame and its halo alone, and comes in
        the order of the frames. A block for which no worker has the memory is then computed in
        pieces, one after the other; the result is the same.
    eager
        Whether the frames of a block are given as arrays in memory, of NumPy or, on a GPU worker,
        of CuPy. Operations are then done at once, and not put into a graph first, which takes most
        of the time where blocks are small. A function that asks Dask for something, such as
        ``frames.data.map_blocks``, must not declare it.

    Raises
    ------
    AlgorithmError
        If the declaration cannot work.

    Examples
    --------
    >>> import forebay, xarray as xr
    >>> @forebay.algorithm("mean-intensity", version="1.0.0")
    ... def mean_intensity(frames: xr.DataArray, *, offset: float = 0.0) -> xr.DataArray:
    ...     return frames.mean(("y", "x")) - offset
    >>> mean_intensity.label, mean_intensity.bind({"offset": "1.5"})
    ('mean-intensity-1.0.0', {'offset': 1.5})
    """

    def declare(function: Function) -> Algorithm:
        declared = Algorithm(
            name,
            version,
            function,
            Blockwise() if needs is None else needs,
            scratch,
            divisible,
            eager,
        )
        REGISTRY.add(declared)
        return declared

    return declare
