"""Reductions that are switched on, one after the other, while the disk is too slow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forebay.acquisition.errors import FrameError
from forebay.acquisition.frames import NO_FLAGS, FrameFlag, Geometry, check_geometry
from forebay.acquisition.reduction.bands import bands
from forebay.acquisition.reduction.errors import ReductionError
from forebay.acquisition.reduction.fitting import fit_all
from forebay.acquisition.reduction.grammar import step_text
from forebay.acquisition.reduction.images import Image
from forebay.acquisition.reduction.operations.operation import PixelOperation, Pixels, planes
from forebay.acquisition.reduction.provenance import provenance
from forebay.acquisition.reduction.steps import MAX_OVERLOAD_STEPS, Step


class OverloadSteps:
    """Steps that a frame can go through in its place, in a run that has begun.

    All memory is taken when it is made; one thread at a time may use it.

    Parameters
    ----------
    steps
        What is done, in this order, the mildest first.  They keep the shape and the type of the
        frames.
    geometry
        Layout of the frames in the run.
    images
        Images that take the place of the files that steps name, by their paths.

    Raises
    ------
    ReductionError
        If a step does not fit the frames, leaves frames out, or changes their shape or type, or
        there are more than eight.
    SourceError
        If an image cannot be read.

    Examples
    --------
    >>> from forebay.acquisition.reduction import parse_step
    >>> run = Geometry(("y", "x"), (1, 3), np.dtype("uint16"))
    >>> overload = OverloadSteps([parse_step("bit-depth:12"), parse_step("sparsify:100")], run)
    >>> pixels = np.array([[7, 90, 1003]], "uint16")
    >>> overload.apply(pixels, 1), pixels.tolist()
    (<FrameFlag.REDUCED|OVERLOAD_STEP_1: 65552>, [[0, 96, 1008]])
    """

    def __init__(
        self,
        steps: Sequence[Step],
        geometry: Geometry,
        *,
        images: Mapping[Path, Image] | None = None,
    ) -> None:
        if len(steps) > MAX_OVERLOAD_STEPS:
            raise ReductionError(
                f"there are {len(steps)} overload steps; a frame has flags for {MAX_OVERLOAD_STEPS}"
            )
        self._geometry = check_geometry(geometry)
        fitted = fit_all(steps, geometry, {} if images is None else images)
        self._operations = [
            _in_place(number, step, geometry) for number, step in enumerate(fitted, 1)
        ]
        self._bands = bands(*geometry.shape[-2:])
        for operation in self._operations:
            operation.prepare(self._bands[0].stop)
        self._flags = [NO_FLAGS]
        for number in range(len(steps)):
            flag = FrameFlag.REDUCED | FrameFlag(FrameFlag.OVERLOAD_STEP_1 << number)
            self._flags.append(self._flags[-1] | flag)

    @property
    def levels(self) -> int:
        """The highest level: how many steps there are."""
        return len(self._operations)

    def apply(self, pixels: Pixels, level: int) -> FrameFlag:
        """Reduce a frame in its place by the first `level` steps.

        Returns
        -------
        FrameFlag
            What was done to it, for the frame's flags.

        Raises
        ------
        FrameError
            If the frame has another layout than those of the run.
        ReductionError
            If there is no such level.
        """
        if not 0 <= level <= self.levels:
            raise ReductionError(f"level is {level}; there are {self.levels} overload steps")
        if pixels.shape != self._geometry.shape or pixels.dtype != self._geometry.dtype:
            raise FrameError(
                f"the frame has the shape {pixels.shape} and the dtype {pixels.dtype}; the run has "
                f"{self._geometry.shape} and {self._geometry.dtype}"
            )
        if level:
            with np.errstate(all="ignore"):
                self._reduce(pixels, self._operations[:level])
        return self._flags[level]

    def provenance(self) -> dict[str, Any]:
        """Return as JSON what the steps do, for the attributes of the run."""
        return provenance(self._operations, self._geometry, self._geometry)

    def _reduce(self, pixels: Pixels, operations: Sequence[PixelOperation]) -> None:
        for plane, of_plane in enumerate(planes(pixels)):
            for rows in self._bands:
                band = of_plane[rows]
                for operation in operations:
                    operation.apply(band, band, plane, rows)


def _in_place(number: int, fitted: object, geometry: Geometry) -> PixelOperation:
    """Return a step that can be applied in place.

    Raises
    ------
    ReductionError
        If it cannot.
    """
    allowed = (
        "a run that has begun takes steps that keep shape and type: bit-depth, sparsify, and "
        "region with mask=true"
    )
    if not isinstance(fitted, PixelOperation):
        raise ReductionError(f"overload step {number} leaves frames out; {allowed}")
    where = f"overload step {number}, {step_text(fitted.step)}"
    if fitted.geometry != geometry:
        raise ReductionError(
            f"{where}: it makes frames of {fitted.geometry.shape} {fitted.geometry.dtype} from "
            f"{geometry.shape} {geometry.dtype}; {allowed}"
        )
    if not fitted.in_place:
        raise ReductionError(f"{where}: it does not work in place; {allowed}")
    return fitted
