"""Kubernetes of processes, on a network with nothing but a loopback."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.kubernetes.operator import Operator, operating
from tests.cluster.network import network

__all__ = ["network"]


@pytest.fixture
def operator(tmp_path: Path, warmed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    """A Kubernetes, and its kubectl before all others."""
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    with operating(folder, warmed / "python") as made:
        monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
        yield made
