"""What every worker elsewhere is started with, and that it ends at once where that cannot be."""

import os
import subprocess
import sys

import pytest

from forebay.cluster import ClusterError
from forebay.cluster.keeping import fit
from forebay.cluster.keeping.environment import worker_environment
from forebay.cluster.worker_memory import ENVIRONMENT


def test_a_worker_knows_its_versions_and_where_its_frames_belong() -> None:
    """Whether it has a GPU alone decides about the latter; what somebody has chosen goes before."""
    plain = worker_environment({"SITE": "north"}, gpus=False)
    assert plain == {fit.VARIABLE: fit.expectation(), **ENVIRONMENT, "SITE": "north"}
    assert worker_environment({"SITE": "north"}, gpus=True) == plain | {fit.ARRAYS: "cupy"}
    assert worker_environment({fit.ARRAYS: "numpy"}, gpus=True)[fit.ARRAYS] == "numpy"


def test_a_worker_for_a_gpu_needs_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "find_spec", lambda name: None)
    fit.check_arrays({})
    with pytest.raises(ClusterError, match="CuPy is not installed: install forebay with the extra"):
        fit.check_arrays({fit.ARRAYS: "cupy"})
    monkeypatch.setattr(fit, "find_spec", lambda name: name == "cupy" or None)
    fit.check_arrays({fit.ARRAYS: "cupy"})


def test_its_last_words_are_what_is_wrong() -> None:
    """They are what the command that asked for it shows; where nobody asks, nothing is checked."""
    gate = [sys.executable, "-c", "import forebay.cluster.keeping.fit"]
    environment = {**os.environ, fit.VARIABLE: "dask=2020.1.0,distributed=2020.1.0"}
    ended = subprocess.run(gate, env=environment, capture_output=True, text=True, check=False)
    last = ended.stderr.strip().splitlines()[-1]
    here = fit.versions()
    assert ended.returncode
    for name in ("dask", "distributed"):
        assert f"{name} {here[name]}, the scheduler's side has 2020.1.0" in last
    del environment[fit.VARIABLE]
    assert subprocess.run(gate, env=environment, check=False).returncode == 0
