"""A run that is still being written, in a laboratory."""

from typing import Any

import numpy as np
from pydantic import ByteSize
from tests.tiering.site import GRACE, SHAPE, Site, pixels

from forebay.acquisition import Frame, Geometry, RunWriter
from forebay.acquisition import open_run as open_in_folder
from forebay.opening import open_run
from forebay.tiering.catalogue.records import RunRecord
from forebay.tiering.moving.open_runs import OpenRuns
from forebay.tiering.reading.block_volumes import blocks_of_volume

FRAMES_PER_BLOCK = 2
OPTIONS: dict[str, Any] = {"newest_blocks": 2, "volume_bytes": ByteSize(500)}
"""Two blocks stay, and three fill a volume."""


class Stream:
    """A run that is still recorded, in a laboratory that keeps its two newest blocks.

    Three blocks fill a volume.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.path = site.runs / "stream"
        self.frames = 0
        self.writer = RunWriter.create(
            self.path,
            Geometry(("y", "x"), SHAPE, np.dtype("uint16")),
            frames_per_block=FRAMES_PER_BLOCK,
        )

    def record(self, blocks: int) -> None:
        """Record some more blocks."""
        for _ in range(blocks * FRAMES_PER_BLOCK):
            self.writer.append(Frame(self.frames, self.frames * 10**9, pixels(self.frames)))
            self.frames += 1

    def resume(self) -> None:
        """Lose the writer, as by a kill, and let another one go on."""
        self.writer.abandon()
        self.writer = RunWriter.resume(self.path)
        self.frames = self.writer.committed

    def known(self) -> OpenRuns:
        return OpenRuns(self.site.catalogue, self.site.tiers, self.site.settings)

    def take_in(self) -> list[range]:
        """Take in full volumes, as a service does; return which blocks are in them."""
        run = open_in_folder(self.path)
        return [blocks_of_volume(x.run_id) for x in self.known().take_in(self.path, run.history)]

    def move(self, tier: str, *, volumes: list[RunRecord] | None = None) -> None:
        """Move what may be moved, and let the grace pass."""
        chosen = self.known().pieces_to_move(self.path) if volumes is None else volumes
        for each in chosen:
            if self.site.lies_in_tiers(each) != {tier}:
                self.site.moves.plan(each, tier=tier, keep=False, why="a test")
        self.site.work()
        self.site.pass_by(GRACE + 1)
        self.site.work()
        assert self.site.moves.find() == []

    def check(self) -> None:
        """Read all that is committed, as anybody does, and compare it."""
        run = open_run(self.path)
        committed = len(run.blocks) * FRAMES_PER_BLOCK
        expected = np.stack([pixels(counter) for counter in range(committed)])
        np.testing.assert_array_equal(run.frames.to_numpy(), expected)
        assert run.verify().problems == ()

    def at_home(self) -> list[int]:
        """Return the blocks whose frames lie in the run's folder."""
        shards = {int(x.name.split(".")[1]): x for x in (self.path / "frames").glob("c.*")}
        return sorted(number for number, path in shards.items() if path.stat().st_size)
