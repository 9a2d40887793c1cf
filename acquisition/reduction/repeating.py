"""Doing again what a run's provenance says was done."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from forebay.acquisition.clock import SYSTEM_CLOCK, Clock
from forebay.acquisition.frames import Geometry
from forebay.acquisition.reduction.chain import ReductionChain
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.grammar import read_step
from forebay.acquisition.reduction.images import Image
from forebay.acquisition.reduction.provenance import geometry_json
from forebay.acquisition.reduction.selection import Selection


def chain_from(
    provenance: Mapping[str, Any],
    *,
    images: Mapping[str, Image] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> ReductionChain:
    """Return a chain that does what the one did that `provenance` is from.

    Parameters
    ----------
    provenance
        What `ReductionChain.provenance` gave.
    images
        Images by their digests, as `ReductionChain.images` gives them; others are read from the
        files that are named.
    clock
        Source of times.

    Raises
    ------
    ReductionError
        If it is no such document, or an image is another one than it was.
    SourceError
        If an image cannot be read.
    """
    given = images or {}
    try:
        layout = provenance["input"]
        geometry = Geometry(
            tuple(layout["dims"]), tuple(layout["shape"]), np.dtype(layout["dtype"])
        )
        recorded = [
            (Path(image["path"]), str(image["digest"]))
            for step in provenance["steps"]
            for image in step.get("images", {}).values()
        ]
        parameters = [step["parameters"] for step in provenance["steps"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReductionError(
            f"this is not the provenance of a reduction ({error!r}); give what "
            "ReductionChain.provenance gave"
        ) from error
    here = {path: given[digest] for path, digest in recorded if digest in given}
    chain = ReductionChain(
        [read_step(each) for each in parameters], geometry, images=here, clock=clock
    )
    _check_images(chain, recorded)
    return chain


def repeat_reduction(
    provenance: Mapping[str, Any],
    frames: xr.DataArray,
    *,
    images: Mapping[str, Image] | None = None,
    select: bool = True,
) -> xr.DataArray:
    """Return what the reduction makes of raw frames, by the functions of `forebay.ops` alone.

    Parameters
    ----------
    provenance
        What `ReductionChain.provenance` gave.
    frames
        Raw frames with the dimension ``t``, NumPy or Dask.
    images
        Images by their digests; others are read from the files that are named.
    select
        Whether frames are left out, too.  Selections begin anew with the first of `frames`; those
        by pixels compute the frames.

    Returns
    -------
    xarray.DataArray
        The reduced frames, pixel by pixel those of the chain.  Dask-backed if `frames` is.

    Raises
    ------
    ReductionError
        If `provenance` is no such document, an image is another one than it was, or `frames` are
        not laid out as those were.
    SourceError
        If an image cannot be read.

    Examples
    --------
    >>> from forebay.acquisition.reduction import parse_step
    >>> camera = Geometry(("y", "x"), (2, 4), np.dtype("uint8"))
    >>> document = ReductionChain([parse_step("bin:2")], camera).provenance()
    >>> raw = xr.DataArray(np.arange(8, dtype="uint8").reshape(1, 2, 4), dims=("t", "y", "x"))
    >>> repeat_reduction(document, raw).values
    array([[[2, 4]]], dtype=uint8)
    """
    chain = chain_from(provenance, images=images)
    expected = provenance["input"]
    sizes = {str(dim): size for dim, size in frames.sizes.items() if dim != "t"}
    if "t" not in frames.dims or geometry_json(
        Geometry(tuple(sizes), tuple(sizes.values()), frames.dtype)
    ) != dict(expected):
        raise ReductionError(
            f"the frames are {dict(frames.sizes)} of {frames.dtype}; those that were reduced had "
            f"t and {dict(zip(expected['dims'], expected['shape'], strict=True))} of "
            f"{expected['dtype']}: give the raw frames"
        )
    nothing = False
    for step in chain.fitted:
        if not isinstance(step, Selection):
            frames = step.repeat(frames)
        elif select:
            kept = step.kept(frames)
            nothing = nothing or not kept
            # Where nothing is left, a frame goes on to show what none of them look like.
            frames = frames.isel(t=kept or [0])
    return frames.isel(t=slice(0)) if nothing else frames


def _check_images(chain: ReductionChain, recorded: Sequence[tuple[Path, str]]) -> None:
    found = chain.images
    for path, digest in recorded:
        if digest not in found:
            raise ReductionError(
                f"{path} is not the image that the frames were reduced with, which had the digest "
                f"{digest}; bring that one back"
            )
