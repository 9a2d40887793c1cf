"""The variables that every worker elsewhere is started with."""

from collections.abc import Mapping
from typing import Final

from forebay.cluster.keeping.fit import ARRAYS, CUPY, VARIABLE, expectation
from forebay.cluster.worker_memory import ENVIRONMENT

_FOR_GPUS: Final = {ARRAYS: CUPY}


def worker_environment(own: Mapping[str, str], *, gpus: bool) -> dict[str, str]:
    """Return the variables of a worker's environment.

    They tell which versions it has to have, what keeps its memory in use, and where it has a GPU,
    that the frames of its units are to be in the GPU's memory: by Dask's own setting
    ``array.backend``.

    Parameters
    ----------
    own
        Variables of the cluster's settings; they go before.
    gpus
        Whether the worker has a GPU.

    Examples
    --------
    >>> worker_environment({"SITE": "north"}, gpus=True)["DASK_ARRAY__BACKEND"]
    'cupy'
    >>> "DASK_ARRAY__BACKEND" in worker_environment({"SITE": "north"}, gpus=False)
    False
    """
    return {VARIABLE: expectation(), **ENVIRONMENT, **(_FOR_GPUS if gpus else {}), **own}
