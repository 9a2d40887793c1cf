"""A job that is killed, wherever that is, is completed by running it again."""

import os
import subprocess
from pathlib import Path

import pytest
from tests.engine import kill_points
from tests.engine.conftest import WriteRun

ROOT = Path(__file__).parents[2]


@pytest.mark.fault
@pytest.mark.timeout(400)
def test_a_job_survives_a_kill_at_every_point(
    write_run: WriteRun, warmed: Path, tmp_path: Path
) -> None:
    """What was published can be read; the next call completes it, once, and leaves no rest."""
    killings = []
    for mode, blocks in (("fresh", 1), ("forced", 1)):
        run = write_run(mode, frames=2 * blocks, frames_per_block=2)
        command = [kill_points.__file__, run.location, str(tmp_path / "results"), mode]
        killings.append(
            subprocess.Popen(
                [str(warmed / "python"), "-W", "error", *command],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for killing, points in zip(killings, (20, 15), strict=True):
        printed, errors = killing.communicate(timeout=300)
        assert killing.returncode == 0, errors
        assert int(printed) > points
