"""What is said of the storage of a run and its result, and when it is looked at again."""

import shutil
from pathlib import Path

import pytest
from tests.engine.conftest import WriteRun

from forebay.engine.execution.storage import Storage


class Hours:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def location(write_run: WriteRun, tmp_path: Path) -> str:
    (runs := tmp_path / "runs").mkdir()
    made = Path(str(write_run("run", frames=2, frames_per_block=2).location))
    return str(made.rename(runs / "run"))


@pytest.fixture
def storage(location: str, tmp_path: Path, hours: Hours) -> Storage:
    return Storage(location, tmp_path / "disk" / "staging", patience=100.0, monotonic=hours)


def test_a_folder_that_is_not_there_yet_is_made(storage: Storage, tmp_path: Path) -> None:
    assert storage.to_wait_for() is None
    assert storage.works
    assert not storage.pausing
    assert list((tmp_path / "disk" / "staging").iterdir()) == []


def test_a_folder_that_was_written_to_and_is_gone_is_not_made_anew(
    storage: Storage, tmp_path: Path
) -> None:
    """Its disk is not mounted: what were written now would lie below the mount."""
    assert storage.to_wait_for() is None
    storage.worked(10)
    shutil.rmtree(tmp_path / "disk")
    assert storage.to_wait_for() == f"the folder {tmp_path / 'disk' / 'staging'} is gone"
    assert not (tmp_path / "disk").exists()
    (tmp_path / "disk" / "staging").mkdir(parents=True)
    assert storage.to_wait_for() is None


def test_the_disk_of_a_run_may_be_gone_too(storage: Storage, location: str) -> None:
    folder = Path(location).parent
    aside = folder.with_name("aside")
    folder.rename(aside)
    assert storage.to_wait_for() == f"the folder of the run {location} is gone"
    aside.rename(folder)
    assert storage.to_wait_for() is None


def test_a_run_that_is_gone_or_damaged_is_no_matter_of_the_storage(
    storage: Storage, location: str
) -> None:
    """It does not come back by waiting."""
    shutil.rmtree(Path(location) / "_forebay")
    assert storage.to_wait_for() is None
    shutil.rmtree(location)
    assert storage.to_wait_for() is None


def test_it_is_looked_at_less_and_less_often(storage: Storage, hours: Hours) -> None:
    """After a second first, and not more seldom than each minute; success begins anew."""
    pauses: list[float] = []
    meanwhile: list[bool] = []
    then = [storage.pausing]
    for _ in range(8):
        pauses.append(storage.next_pause())
        hours.seconds += pauses[-1] - 0.5
        meanwhile.append(storage.pausing)
        hours.seconds += 0.5
        then.append(storage.pausing)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(meanwhile)
    assert not any(then)
    storage.next_pause()
    storage.worked(10)
    assert not storage.pausing
    assert storage.next_pause() == 1


def test_it_is_not_waited_for_without_end(storage: Storage, tmp_path: Path, hours: Hours) -> None:
    """Then its units fail, as others do; patience begins anew when it has worked."""
    storage.worked(10)
    problem = storage.to_wait_for()
    assert problem is not None
    hours.seconds += 100
    assert storage.to_wait_for() == problem
    hours.seconds += 1
    assert storage.to_wait_for() is None
    (tmp_path / "disk" / "staging").mkdir(parents=True)
    assert storage.to_wait_for() is None
    shutil.rmtree(tmp_path / "disk")
    assert storage.to_wait_for() == problem
