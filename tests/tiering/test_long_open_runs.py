"""Of an open run with many blocks only those are gone through of which something is asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.acquisition.run.long_run import blocks_made, long_run
from tests.tiering.site import Site
from tests.tiering.stream import OPTIONS

from forebay.acquisition import open_run
from forebay.tiering.continuous.filling import FillingWatch
from forebay.tiering.errors import RunNotTieredError
from forebay.tiering.moving.open_runs import OpenRuns

BLOCKS = 200
VOLUME_BLOCKS = 3
"""That fill a volume of 500 bytes."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, **OPTIONS) as made:
        long_run(made.runs / "long", BLOCKS)
        yield made


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return blocks_made(monkeypatch)


def test_how_fast_a_tier_fills_is_told_by_the_newest_blocks(site: Site, made: list[int]) -> None:
    """And how much lies in the run by the lengths of all of them."""
    watch = FillingWatch(site.tiers, site.catalogue)
    watch.search()
    (filling,) = watch.look().values()
    assert filling.open_bytes == open_run(site.runs / "long").history.blocks.stored_bytes
    assert set(made) <= set(range(BLOCKS - 4, BLOCKS))


def test_volumes_are_made_without_all_blocks_in_memory(site: Site, made: list[int]) -> None:
    """The first ones are taken in before the others are looked at: here those are missing."""
    path = site.runs / "long"
    history = open_run(path).history
    assert made == []
    with pytest.raises(RunNotTieredError, match="missing or cut off"):
        OpenRuns(site.catalogue, site.tiers, site.settings).take_in(path, history)
    assert set(made) <= set(range(VOLUME_BLOCKS))
