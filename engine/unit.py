"""Units: the pieces of a job that are computed, retried and published by themselves."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Self

import numpy as np
import xarray as xr
from blake3 import blake3

from forebay.acquisition import Block, Extent, Run
from forebay.engine.definition import Algorithm, Blockwise, Needs, Sequential, WholeRun


@dataclass(frozen=True, slots=True)
class Region:
    """A box of frames and pixels."""

    t: Extent
    """Frames, by their place in the run."""
    y: Extent
    """Rows of pixels."""
    x: Extent
    """Columns of pixels."""


@dataclass(frozen=True)
class Job:
    """An algorithm with its parameters, over one run."""

    run_id: str
    """The run."""
    run_name: str
    """What the run is called."""
    algorithm: str
    """Name of the algorithm."""
    version: str
    """Its version."""
    needs: Needs
    """How it is cut into units."""
    parameters: dict[str, Any]
    """All its parameters, as JSON."""

    @classmethod
    def of(cls, run: Run, algorithm: Algorithm, parameters: dict[str, Any]) -> Self:
        """Return the job of an algorithm over a run."""
        return cls(
            run.run_id, run.name, algorithm.name, algorithm.version, algorithm.needs, parameters
        )

    @functools.cached_property
    def identity(self) -> str:
        """The digest by which the job is known; the run's name is no part of it."""
        fields = asdict(self)
        del fields["run_name"]
        return _digest(fields)


@dataclass(frozen=True)
class Unit:
    """A job on a group of blocks, or on a piece of them."""

    job: Job
    """The job that it is a part of."""
    core: Region
    """What it answers for."""
    seen: Region
    """What it has to see: the core with its halo."""
    inputs: tuple[str, ...]
    """The digests of the objects that it reads."""
    taken_at: int
    """When the core's last frame was taken, in nanoseconds since 1970-01-01 UTC."""
    before: str | None = None
    """Identity of the unit whose state it goes on with."""

    @functools.cached_property
    def identity(self) -> str:
        """The digest by which the unit is known: of its job, its region and its inputs.

        Where it goes on with the state of another unit, that one is an input too, and by it all
        that came before.
        """
        places = {"core": _place(self.core), "seen": _place(self.seen)}
        fields = {"job": self.job.identity, **places, "inputs": self.inputs}
        return _digest(fields if self.before is None else {**fields, "before": self.before})

    @property
    def tiled(self) -> bool:
        """Whether it is a tile of frames, rather than whole frames."""
        needs = self.job.needs
        return isinstance(needs, Blockwise) and needs.tile_pixels is not None

    @property
    def label(self) -> str:
        """The unit's frames, and its tile if it has one, for people and for file names."""
        frames = f"t{self.core.t.start:010d}-{self.core.t.stop:010d}"
        return f"{frames}-y{self.core.y.start}-x{self.core.x.start}" if self.tiled else frames


def needs_of(fields: Mapping[str, Any]) -> Needs:
    """Return needs from their fields, as they are kept as JSON."""
    if not fields:
        return WholeRun()
    return Sequential(**fields) if "state" in fields else Blockwise(**fields)


def plannable(run: Run, needs: Needs) -> int:
    """Return how many blocks, from the first on, can be planned with the run as it is.

    While a run grows, a block waits for its halo: so a unit is the same whether it is planned
    live or afterwards.
    """
    blocks = run.history.blocks
    if run.closed:
        return len(blocks)
    if isinstance(needs, WholeRun):
        return 0
    halo = needs.halo_frames if isinstance(needs, Blockwise) else 0
    # Only the last block of a closed run may be a short one.
    return max(0, run.history.frames - halo) // run.layout.frames_per_block


def plan(
    run: Run, job: Job, *, first_block: int = 0, before: str | None = None
) -> Iterator[tuple[Unit, Sequence[Block]]]:
    """Cut a job into units; yield each with the blocks that it reads.

    Parameters
    ----------
    run
        The run, as far as it has come.
    job
        The job that the units belong to.
    first_block
        Where to begin; blocks before it were planned already.
    before
        Identity of the unit of the block before that, where each goes on with the state of the
        one before.
    """
    ready = plannable(run, job.needs)
    height, width = run.layout.geometry.shape[-2:]
    needs = job.needs
    if isinstance(needs, WholeRun):
        if ready:
            yield _whole(run, job)
        return
    if isinstance(needs, Sequential):
        for number in range(first_block, ready):
            unit, read = _following(run, job, number, before)
            before = unit.identity
            yield unit, read
        return
    for number in range(first_block, ready):
        for y, x in product(_tiles(height, needs), _tiles(width, needs)):
            yield _blockwise(run, job, needs, number, y, x)


def unit_at(
    run: Run, job: Job, *, start: int, y: int, x: int, before: str | None = None
) -> tuple[Unit, Sequence[Block]] | None:
    """Return the unit of a job that begins at a frame and a pixel, with the blocks that it reads.

    None if the run, as it is, has no such unit.  `before` is the unit whose state it goes on with.
    """
    needs = job.needs
    number, within = divmod(start, run.layout.frames_per_block)
    if within or not 0 <= number < plannable(run, needs):
        return None
    if isinstance(needs, Blockwise):
        height, width = run.layout.geometry.shape[-2:]
        rows, columns = _tile_at(y, height, needs), _tile_at(x, width, needs)
        if rows is None or columns is None:
            return None
        return _blockwise(run, job, needs, number, rows, columns)
    if (y, x) != (0, 0):
        return None
    if isinstance(needs, Sequential):
        return _following(run, job, number, before)
    return _whole(run, job) if number == 0 else None


def seen_bytes(run: Run, unit: Unit) -> int:
    """Return the bytes of the frames that a unit has to see."""
    geometry = run.layout.geometry
    seen = unit.seen
    height, width = geometry.shape[-2:]
    share = len(seen.y) * len(seen.x) / (height * width)
    return int(len(seen.t) * geometry.frame_bytes * share)


def needed_bytes(run: Run, unit: Unit, algorithm: Algorithm, arguments: Mapping[str, Any]) -> int:
    """Return the bytes that a unit takes of a worker: its frames, and what the algorithm declares.

    Raises
    ------
    AlgorithmError
        If what it declares cannot be told.
    """
    if algorithm.scratch is None:
        return seen_bytes(run, unit)
    geometry, seen = run.layout.geometry, unit.seen
    shape = (len(seen.t), *geometry.shape[:-2], len(seen.y), len(seen.x))
    # One pixel stands for all: only sizes and dtype are looked at.
    pixels = np.broadcast_to(np.zeros((), geometry.dtype), shape)
    frames = xr.DataArray(pixels, dims=("t", *geometry.dims))
    return seen_bytes(run, unit) + algorithm.scratch_bytes(frames, arguments)


def _unit(
    job: Job, core: Region, seen: Region, blocks: Sequence[Block], *, before: str | None = None
) -> Unit:
    inputs = tuple(stored.blake3 for block in blocks for stored in block.objects)
    last = next(each for each in reversed(blocks) if each.extent.start < core.t.stop)
    return Unit(job, core, seen, inputs, last.timestamps[1], before)


def _whole(run: Run, job: Job) -> tuple[Unit, Sequence[Block]]:
    height, width = run.layout.geometry.shape[-2:]
    region = Region(Extent(0, run.history.frames), Extent(0, height), Extent(0, width))
    return _unit(job, region, region, run.blocks), run.blocks


def _following(run: Run, job: Job, number: int, before: str | None) -> tuple[Unit, Sequence[Block]]:
    height, width = run.layout.geometry.shape[-2:]
    block = run.history.blocks[number]
    region = Region(block.extent, Extent(0, height), Extent(0, width))
    return _unit(job, region, region, (block,), before=before), (block,)


def _blockwise(
    run: Run, job: Job, needs: Blockwise, number: int, y: Extent, x: Extent
) -> tuple[Unit, Sequence[Block]]:
    blocks = run.history.blocks
    height, width = run.layout.geometry.shape[-2:]
    core = Region(blocks[number].extent, y, x)
    t = _widen(core.t, needs.halo_frames, run.history.frames)
    whole = run.layout.frames_per_block
    read = tuple(blocks[t.start // whole : -(-t.stop // whole)])
    halo = needs.halo_pixels
    seen = Region(t, _widen(y, halo, height), _widen(x, halo, width))
    return _unit(job, core, seen, read), read


def _tiles(length: int, needs: Blockwise) -> list[Extent]:
    side = needs.tile_pixels or length
    return [Extent(start, min(start + side, length)) for start in range(0, length, side)]


def _tile_at(start: int, length: int, needs: Blockwise) -> Extent | None:
    """Return the tile that begins at a pixel; None if none does."""
    side = needs.tile_pixels or length
    return Extent(start, min(start + side, length)) if start in range(0, length, side) else None


def _widen(extent: Extent, halo: int, length: int) -> Extent:
    return Extent(max(0, extent.start - halo), min(length, extent.stop + halo))


def _place(region: Region) -> dict[str, dict[str, int]]:
    sides = {"t": region.t, "y": region.y, "x": region.x}
    return {name: {"start": side.start, "stop": side.stop} for name, side in sides.items()}


def _digest(fields: Any) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return str(blake3(text.encode()).hexdigest())
