"""What another ledger has published is entered, and takes nothing from anybody."""

from pathlib import Path

import pytest
from tests.engine.queue.desk import BYTES, FRAMES, Desk, target, unit

from forebay.engine.queue.database import Database
from forebay.engine.queue.published import ResultRecord, enter, published

FOLDER = Path("/results/run")


@pytest.fixture
def record(tmp_path: Path) -> ResultRecord:
    """Two units and their parts, as another ledger has published them."""
    with Database(tmp_path / "elsewhere.sqlite") as database:
        desk = Desk(database)
        desk.queue_up("run", 2)
        desk.publish(desk.take())
        found = published(database, target().job.identity)
        assert found is not None
        return found


def add(desk: Desk, inputs: str, *numbers: int) -> None:
    """Add units that read such data."""
    found = [(unit(target(), number, inputs=inputs), BYTES) for number in numbers]
    desk.planning.add(target().job.identity, found, blocks=2, frames=2 * FRAMES, complete=True)


def test_what_was_published_elsewhere_is_done(desk: Desk, record: ResultRecord) -> None:
    """A job that asks for it has nothing to do."""
    job = desk.queue_up("run", 2)
    assert enter(desk.database, record, folder=FOLDER) == {"part 1", "part 2"}
    assert desk.states() == {"done": 2}
    assert desk.state(job) == "done"
    assert published(desk.database, target().job.identity) is not None


def test_what_is_being_computed_is_left_to_who_computes_it(
    desk: Desk, record: ResultRecord
) -> None:
    desk.queue_up("run", 2)
    (claim,) = desk.take(1)
    assert enter(desk.database, record, folder=FOLDER) == {"part 2"}
    assert desk.states() == {"running": 1, "done": 1}
    assert [each.unit for each in desk.publish([claim])] == [claim.unit]


def test_nothing_is_entered_beside_what_read_other_data(desk: Desk, record: ResultRecord) -> None:
    """There would be two parts of the same frames."""
    desk.submit("run")
    add(desk, "anew", 0, 1)
    assert enter(desk.database, record, folder=FOLDER) == frozenset()
    assert desk.states() == {"ready": 2}


def test_what_was_superseded_does_not_come_back(desk: Desk, record: ResultRecord) -> None:
    desk.queue_up("run", 1)
    desk.publish(desk.take())
    desk.submit("run", key="again")
    add(desk, "anew", 0)
    desk.publish(desk.take())
    before = {each.unit: (each.state, each.part) for each in desk.units()}
    enter(desk.database, record, folder=FOLDER)
    after = {each.unit: (each.state, each.part) for each in desk.units()}
    assert {name: after[name] for name in before} == before
    assert sorted(state for state, _ in before.values()) == ["done", "superseded"]


def test_the_number_of_attempts_goes_on(desk: Desk, record: ResultRecord) -> None:
    """A late attempt of this ledger must not find its own number."""
    desk.queue_up("run", 1)
    for _ in range(2):
        desk.service.hand_back(desk.take())
    enter(desk.database, record, folder=FOLDER)
    first = desk.units()[0]
    assert (first.state, first.attempt) == ("done", 2)
