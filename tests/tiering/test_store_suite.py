"""The tests that Zarr publishes for stores, on ours, over every kind of place."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from obstore.store import MemoryStore
from zarr.abc.store import Store
from zarr.core.buffer import Buffer, cpu
from zarr.storage import LocalStore
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine
from zarr.testing.store import StoreTests

from forebay.tiering.connect import connect
from forebay.tiering.reading.tiered_store import TieredStore
from forebay.tiering.url_store import UrlStore


class Suite(StoreTests[TieredStore, cpu.Buffer]):
    """What all of the suites have in common."""

    store_cls = TieredStore
    buffer_cls = cpu.Buffer
    where = 0
    """The place that the suite puts objects into: home, or one of the others."""

    def folders(self, store: TieredStore) -> list[Path]:
        root = store.root
        assert root is not None
        return [root, root.parent / "warm", root.parent / "cold"]

    async def set(self, store: TieredStore, key: str, value: Buffer) -> None:
        path = self.folders(store)[self.where] / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value.to_bytes())

    async def get(self, store: TieredStore, key: str) -> Buffer:
        # What is written goes home.
        for folder in self.folders(store):
            if (folder / key).is_file():
                return cpu.Buffer.from_bytes((folder / key).read_bytes())
        raise FileNotFoundError(key)

    @pytest.fixture
    def store_kwargs(self, quick: Path) -> dict[str, Any]:
        for name in ("home", "warm", "cold"):
            (quick / name).mkdir()
        warm, cold = (
            UrlStore(connect(quick / name), url=str(quick / name), read_only=False)
            for name in ("warm", "cold")
        )
        return {"home": LocalStore(quick / "home"), "places": (warm, cold)}

    @pytest.fixture
    def store(self, store_kwargs: dict[str, Any]) -> TieredStore:
        return asyncio.run(self.store_cls.open(**store_kwargs))

    @pytest.fixture
    def store_not_open(self, store_kwargs: dict[str, Any]) -> TieredStore:
        return self.store_cls(**store_kwargs)

    def test_store_repr(self, store: TieredStore) -> None:
        assert repr(store) == f"<TieredStore '{store}'>"

    def test_store_supports_writes(self, store: TieredStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: TieredStore) -> None:
        assert store.supports_listing


class TestAtHome(Suite):
    """Objects lie at home."""


class TestInTheFirstPlace(Suite):
    """Objects lie in the place that is read from first."""

    where = 1


class TestInTheLastPlace(Suite):
    """Objects lie in the place that is read from last."""

    where = 2


def memory() -> UrlStore:
    return UrlStore(MemoryStore(), url="memory:///", read_only=False)


def over(kind: str, folder: Path) -> Store:
    """Return a store over two other places."""
    home: Store = memory()
    if kind == "folder":
        (folder / "home").mkdir()
        home = LocalStore(folder / "home")
    return TieredStore(home, places=[memory(), memory()])


CHOSEN = settings(
    max_examples=2,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_groups_and_arrays_are_as_in_any_store(quick: Path) -> None:
    """Whatever Zarr does with a hierarchy, ours and a plain store agree."""
    store = over("folder", quick)

    def machine() -> ZarrHierarchyStateMachine:
        return ZarrHierarchyStateMachine(store)

    made: Any = machine
    run_state_machine_as_test(made, settings=CHOSEN)


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_keys_and_ranges_are_as_in_any_store(quick: Path) -> None:
    """Whatever is put, read in part, listed and deleted, ours and a plain mapping agree."""
    store = over("objects", quick)
    made: Any = lambda: ZarrStoreStateMachine(store)
    run_state_machine_as_test(made, settings=CHOSEN)
