"""What names no cluster that can be is told in one sentence by the command line."""

from pathlib import Path

import pytest
from tests.cli.conftest import Forebay, forebay

__all__ = ["forebay"]


def test_an_unknown_kind_is_refused(forebay: Forebay, tmp_path: Path) -> None:
    (tmp_path / "forebay.toml").write_text("[clusters.gpus]\nkind = 'slrum'")
    outcome = forebay("cluster", "check", "gpus")
    assert outcome.code == 2
    assert "clusters.gpus.kind = 'slrum': it must be one of local" in outcome.error
    assert "did you mean 'slurm'?" in outcome.error


@pytest.mark.parametrize("workers", ["some", "²", "1.5", "9" * 5000])
def test_what_is_no_number_of_workers_is_refused(forebay: Forebay, workers: str) -> None:
    outcome = forebay("cluster", "scale", "gpus", workers)
    assert outcome.code == 2
    assert outcome.error.endswith("is neither a number of workers nor 'auto'")


def test_a_cluster_without_a_gpu_is_one_sentence(forebay: Forebay, tmp_path: Path) -> None:
    """Whether dask-cuda is missing, or the GPU."""
    (tmp_path / "forebay.toml").write_text("[clusters.gpus]\nkind = 'local-cuda'\ngpus = [99]")
    outcome = forebay("cluster", "check", "gpus")
    assert outcome.code == 3
    assert outcome.error.startswith("the cluster gpus cannot be started: ")
    assert any(
        each in outcome.error for each in ("needs dask-cuda", "shows no NVIDIA GPU", "gpus = [99]")
    )
