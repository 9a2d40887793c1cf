"""Loaded by Dask first of all on a worker's side: ends it there if it cannot work.

It has other versions, or is for a GPU and lacks CuPy.  A worker that reported to the scheduler would
be given units at once, and fail at them.  So it does not come that far: importing this module fails,
and what is wrong is the last line of the job's log.
"""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from forebay.cluster.errors import ClusterError

VARIABLE = "FOREBAY_EXPECTS"
"""The variable that says which versions the scheduler's side has."""
ARRAYS = "DASK_ARRAY__BACKEND"
"""The variable of Dask's own setting for the library that arrays are made in."""
CUPY = "cupy"
"""Its value on a worker for a GPU."""
_PACKAGES = ("dask", "distributed", "forebay")


def versions() -> dict[str, str]:
    """Return the versions here that have to be the same on the other side.

    Pickled code is understood between patch releases of Python.
    """
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def expectation() -> str:
    """Return the versions here, as one word for an environment variable."""
    return ",".join(f"{name}={each}" for name, each in versions().items())


def check(expected: str) -> None:
    """Compare the versions here with those of the scheduler's side.

    Parameters
    ----------
    expected
        What `expectation` has returned there.

    Raises
    ------
    ClusterError
        If they differ; it says all that does.

    Examples
    --------
    >>> check(expectation())
    >>> check("dask=2020.1.0,anything=1")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    forebay.cluster.errors.ClusterError: this worker has dask ..., the scheduler's side has 2020.1.0...
    """
    here = versions()
    wanted = dict(each.split("=", 1) for each in expected.split(",") if "=" in each)
    differing = [
        f"{name} {here[name]}, the scheduler's side has {each}"
        for name, each in wanted.items()
        if here.get(name, each) != each
    ]
    if differing:
        raise ClusterError(
            f"this worker has {'; '.join(differing)}: install the same versions on both"
        )


def check_arrays(environ: Mapping[str, str]) -> None:
    """Make sure that a worker for a GPU can make arrays there.

    Parameters
    ----------
    environ
        Its environment.

    Raises
    ------
    ClusterError
        If it cannot.

    Examples
    --------
    >>> check_arrays({"DASK_ARRAY__BACKEND": "numpy"})
    """
    if environ.get(ARRAYS) == CUPY and find_spec(CUPY) is None:
        raise ClusterError(
            "this worker is for a GPU, and CuPy is not installed: install forebay with the extra gpu "
            "there ('pip install forebay[gpu]')"
        )


if VARIABLE in os.environ:
    check(os.environ[VARIABLE])
    check_arrays(os.environ)
