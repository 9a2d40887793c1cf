"""Units: the pieces of a job that are computed, retried and published by themselves."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Self

from blake3 import blake3

from forebay.acquisition import Block, Extent, Run
from forebay.engine.algorithm import Algorithm, Blockwise


@dataclass(frozen=True, slots=True)
class Region:
    """A box of frames and pixels."""

    t: Extent
    """Frames, by their place in the run."""
    y: Extent
    """Rows of pixels."""
    x: Extent
    """Columns of pixels."""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Self:
        """Read a region back."""
        return cls(**{name: Extent(**extent) for name, extent in fields.items()})


@dataclass(frozen=True, slots=True)
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
    parameters: dict[str, Any]
    """All its parameters, as JSON."""

    @classmethod
    def of(cls, run: Run, algorithm: Algorithm, parameters: dict[str, Any]) -> Self:
        """Return the job of an algorithm over a run."""
        return cls(run.run_id, run.name, algorithm.name, algorithm.version, parameters)

    @property
    def identity(self) -> str:
        """The digest by which the job is known; the run's name is no part of it."""
        fields = asdict(self)
        del fields["run_name"]
        return _digest(fields)


@dataclass(frozen=True, slots=True)
class Unit:
    """A job on a group of blocks, or on a piece of them."""

    job: Job
    """The job that it is a part of."""
    core: Region
    """What it answers for."""
    seen: Region
    """What it has to see: the core with its halo."""
    inputs: tuple[str, ...]
    """The digests of the blocks that it reads."""
    taken_at: int
    """When the core's last frame was taken, in nanoseconds since 1970-01-01 UTC."""

    @property
    def identity(self) -> str:
        """The digest by which the unit is known: of its job, its region and its inputs."""
        fields = {"job": self.job.identity, "core": asdict(self.core), "seen": asdict(self.seen)}
        return _digest({**fields, "inputs": self.inputs})

    @property
    def label(self) -> str:
        """The unit's frames, and its tile if it has one, for people and for file names."""
        core, seen = self.core, self.seen
        frames = f"t{core.t.start:010d}-{core.t.stop:010d}"
        tiled = (core.y, core.x) != (seen.y, seen.x) or core.y.start or core.x.start
        return f"{frames}-y{core.y.start}-x{core.x.start}" if tiled else frames


def plan(
    run: Run, algorithm: Algorithm, job: Job, *, first_block: int = 0
) -> Iterator[tuple[Unit, tuple[Block, ...]]]:
    """Cut a job into units; yield each with the blocks that it reads.

    A block whose halo reaches beyond what is committed comes only once the run holds the halo, or
    is closed: so a unit is the same whether it is planned live or afterwards.

    Parameters
    ----------
    run
        The run, as far as it has come.
    algorithm
        What is to be computed.
    job
        The job that the units belong to.
    first_block
        Where to begin; blocks before it were planned already.
    """
    height, width = run.layout.geometry.shape[-2:]
    whole_y, whole_x = Extent(0, height), Extent(0, width)
    needs = algorithm.needs
    if not isinstance(needs, Blockwise):
        if run.blocks:
            everything = Region(Extent(0, run.extents[-1].stop), whole_y, whole_x)
            yield _unit(job, everything, everything, run.blocks), run.blocks
        return
    for block in run.blocks[first_block:]:
        t = _widen(block.extent, needs.halo_frames, run.extents[-1].stop)
        if t.stop < block.extent.stop + needs.halo_frames and not run.closed:
            return
        blocks = tuple(
            each
            for each in run.blocks
            if each.extent.start < t.stop and each.extent.stop > t.start
        )
        for y, x in product(_tiles(height, needs), _tiles(width, needs)):
            core = Region(block.extent, y, x)
            halo = needs.halo_pixels
            seen = Region(t, _widen(y, halo, height), _widen(x, halo, width))
            yield _unit(job, core, seen, blocks), blocks


def _unit(job: Job, core: Region, seen: Region, blocks: tuple[Block, ...]) -> Unit:
    inputs = tuple(stored.blake3 for block in blocks for stored in block.objects)
    last = next(each for each in reversed(blocks) if each.extent.start < core.t.stop)
    return Unit(job, core, seen, inputs, last.timestamps[1])


def _tiles(length: int, needs: Blockwise) -> list[Extent]:
    side = needs.tile_pixels or length
    return [Extent(start, min(start + side, length)) for start in range(0, length, side)]


def _widen(extent: Extent, halo: int, length: int) -> Extent:
    return Extent(max(0, extent.start - halo), min(length, extent.stop + halo))


def _digest(fields: Any) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=True)
    return str(blake3(text.encode()).hexdigest())
