"""Algorithms: named, versioned functions of a run's frames, and what each of them needs."""

import functools
import inspect
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import pydantic
import xarray as xr

from forebay.engine import parameters
from forebay.engine.errors import AlgorithmError
from forebay.engine.given import check_fields

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", flags=re.ASCII)
_VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", flags=re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blockwise:
    """The algorithm works on one block at a time.

    The engine gives it the block with a halo around it, where the run has one, and keeps of what
    it returns only that which lies in the block itself: by the coordinate (or column) ``t``, and
    ``y`` and ``x`` for a tile.
    """

    halo_frames: int = 0
    """Frames before and behind the block that the algorithm has to see."""
    tile_pixels: int | None = None
    """Longest side of the piece of a frame to work on; None for whole frames."""
    halo_pixels: int = 0
    """Pixels around a tile that the algorithm has to see."""

    def __post_init__(self) -> None:
        check_fields(self, AlgorithmError)
        if self.halo_frames < 0 or self.halo_pixels < 0:
            raise AlgorithmError(f"a halo cannot be below 0: {self}")
        if self.tile_pixels is not None and self.tile_pixels < 1:
            raise AlgorithmError(f"a tile needs at least 1 pixel: {self}")
        if self.halo_pixels and self.tile_pixels is None:
            raise AlgorithmError(
                f"a halo of {self.halo_pixels} pixels needs tiles to lie around: give tile_pixels "
                "too, or leave halo_pixels out, since whole frames have no neighbours"
            )


@dataclass(frozen=True, slots=True)
class WholeRun:
    """The algorithm needs all frames of the run at once, lazily, and so a run that is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """The algorithm carries a state from each block to the next one.

    It is called with the frames of a block and, by keyword, the state that it returned for the
    block before, which is None for the first one.  It returns a pair: what the block has given,
    and the state for the next block, either of them an xarray object or a table.  The state is
    kept with the block's part, so that it goes on at any block, in any process.
    """

    state: str = "state"
    """Name of the function's argument for the state."""

    def __post_init__(self) -> None:
        check_fields(self, AlgorithmError)
        if not self.state.isidentifier():
            raise AlgorithmError(f"{self.state!r} is not the name of an argument")


type Needs = Blockwise | WholeRun | Sequential

type Function = Callable[..., Any]

type Scratch = Callable[..., int]
"""From frames without pixels, and the parameters by keyword, to bytes."""


@dataclass(frozen=True)
class Algorithm:
    """A named, versioned function from frames to a result.

    Calling it calls the function.
    """

    name: str
    """What it is called: lower-case words joined by hyphens."""
    version: str
    """Its version; a change in what it returns needs a new one."""
    function: Function
    """From a DataArray and parameters to an xarray object or a table; a sequential one takes the
    state too, and returns it beside the result."""
    needs: Needs = field(default_factory=Blockwise)
    """How much of the run it has to see at a time."""
    scratch: Scratch | None = None
    """How many bytes a worker needs for it, beside the frames that it sees: a function that gets
    the frames as a DataArray whose values mean nothing, and the parameters."""
    divisible: bool = False
    """Whether what it returns of a frame depends on that frame and its halo alone, in the order of
    the frames: then a block that is too large for a worker's memory is computed in pieces."""
    eager: bool = False
    """Whether it is given the frames of a block as arrays in memory: each of its operations is then
    done at once, which for small blocks takes less than the graph of a lazy one."""

    def __post_init__(self) -> None:
        check_fields(self, AlgorithmError)
        if not _NAME.fullmatch(self.name):
            raise AlgorithmError(
                f"{self.name!r} is not an algorithm's name: use lower-case words joined by "
                "hyphens, such as 'find-particles'"
            )
        if not _VERSION.fullmatch(self.version):
            raise AlgorithmError(
                f"{self.version!r} is not the version of {self.name}: use three numbers, such as "
                "'1.0.0'"
            )
        if self.divisible and not isinstance(self.needs, Blockwise):
            raise AlgorithmError(
                f"{self.name} cannot be divisible and need {self.needs!r}: only blocks are computed "
                "in pieces; leave divisible out"
            )
        if self.eager and isinstance(self.needs, WholeRun):
            raise AlgorithmError(
                f"{self.name} cannot be eager and need {self.needs!r}: a whole run may not fit into "
                "memory; leave eager out, and load what you need of it"
            )
        _ = self.parameters

    @property
    def label(self) -> str:
        """Name and version in one word."""
        return f"{self.name}-{self.version}"

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @functools.cached_property
    def parameters(self) -> type[pydantic.BaseModel]:
        """The parameters with their types and defaults, as a pydantic model."""
        state = self.needs.state if isinstance(self.needs, Sequential) else None
        return parameters.parameter_model(self.name, self.function, state=state)

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Check parameters and fill in the defaults.

        Parameters
        ----------
        given
            Parameters by name; a text is read as the type that the parameter has.

        Returns
        -------
        dict
            All parameters, as JSON values.

        Raises
        ------
        ParameterError
            If one is unknown, missing or of the wrong type.
        """
        return parameters.bind(self.label, self.parameters, given)

    def arguments(self, bound: Mapping[str, Any]) -> dict[str, Any]:
        """Return bound parameters as the function expects them, each of its own type."""
        return parameters.arguments(self.parameters, bound)

    def scratch_bytes(self, frames: xr.DataArray, arguments: Mapping[str, Any]) -> int:
        """Return the bytes that it declares to need beside `frames`; zero if it declares nothing.

        Parameters
        ----------
        frames
            What a unit sees; only sizes and dtype count.
        arguments
            The parameters, as `arguments` returns them.

        Raises
        ------
        AlgorithmError
            If what it declares cannot be told.
        """
        if self.scratch is None:
            return 0
        try:
            needed = operator.index(self.scratch(frames, **arguments))
        except Exception as error:
            raise AlgorithmError(
                f"the scratch memory of {self.label} cannot be told: "
                f"{type(error).__name__}: {error}; its scratch gets the frames and the parameters, "
                "and returns a number of bytes"
            ) from error
        if needed < 0:
            raise AlgorithmError(
                f"the scratch memory of {self.label} is {needed} bytes, but must be 0 or more"
            )
        return needed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.function(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what no worker needs: the model of the parameters, and the scratch."""
        kept = [each.name for each in fields(self) if each.name != "scratch"]
        return {name: getattr(self, name) for name in kept}
