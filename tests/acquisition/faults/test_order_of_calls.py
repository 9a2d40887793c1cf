"""Each thing is durable before the next one builds on it, whichever thread does it."""

import re
from pathlib import Path

import pytest
from tests.acquisition.faults.recordings import RUN
from tests.acquisition.faults.traced import Event, trace

from forebay.acquisition import Block, open_run

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A run of three blocks, and what its writer asked of the system."""
    folder = tmp_path_factory.mktemp("traced")
    return folder / RUN, trace(folder, folder, folder / "promises")


def only(events: list[Event]) -> Event:
    assert len(events) == 1, events
    return events[0]


def first_behind(events: list[Event], kind: str, path: Path | str, place: int) -> Event:
    """Return the first call of a kind that concerns a path and begins behind a place."""
    wanted = [each for each in events if each.kind == kind and each.path == str(path)]
    return min((each for each in wanted if each.began > place), key=lambda each: each.ended)


def line_of(run: Path, events: list[Event], block: Block) -> tuple[Event, Event]:
    """Return the write of the block's record and the flush that makes it durable."""
    log = run / "_forebay/log/00000001.log"
    record = f'"number":{block.number},"extent"'
    written = only([each for each in events if each.path == str(log) and record in each.text])
    return written, first_behind(events, "flush", log, written.ended)


def test_an_object_is_flushed_then_named_then_its_folder_is_flushed_then_its_record_is_written(
    recorded: tuple[Path, list[Event]],
) -> None:
    """So for every object of every block."""
    run, events = recorded
    blocks = open_run(run).blocks
    assert len(blocks) == 3
    for block in blocks:
        written, _ = line_of(run, events, block)
        for stored in block.objects:
            name = run / stored.key
            named = only(
                [each for each in events if each.kind == "name" and each.path == str(name)]
            )
            parts = [each for each in events if each.kind == "write" and each.path == named.before]
            last = max(each.ended for each in parts if each.ended < named.began)
            flushed = first_behind(events, "flush", named.before, last)
            folder_flushed = first_behind(events, "flush", name.parent, named.ended)
            assert last < flushed.began
            assert flushed.ended < named.began
            assert named.ended < folder_flushed.began
            assert folder_flushed.ended < written.began


def test_a_block_is_promised_after_the_flush_of_its_record(
    recorded: tuple[Path, list[Event]],
) -> None:
    """The log's flush has ended when the number of committed frames is told for the first time."""
    run, events = recorded
    promises = [each for each in events if each.path == str(run.parent / "promises")]
    assert promises
    for block in open_run(run).blocks:
        _, flushed = line_of(run, events, block)
        told = [each for each in promises if numbers("committed", each)[0] >= block.extent.stop]
        assert told
        assert flushed.ended < min(each.began for each in told)


def test_arrays_grow_after_the_flush_of_the_record(recorded: tuple[Path, list[Event]]) -> None:
    """No document is put in its place that shows a frame whose record is not durable."""
    run, events = recorded
    durable = {0: -1}
    for block in open_run(run).blocks:
        durable[block.extent.stop] = line_of(run, events, block)[1].ended
    renamed = [
        each
        for each in events
        if each.kind == "name"
        and each.path.endswith("zarr.json")
        and each.path.startswith(f"{run}/")
    ]
    shown = set()
    for each in renamed:
        of_file = [
            event for event in events if event.path == each.before and event.ended < each.began
        ]
        written = [event for event in of_file if event.kind == "write"][-1]
        flushed = [event for event in of_file if event.kind == "flush"][-1]
        assert written.ended < flushed.began
        assert (
            flushed.ended
            < each.began
            < first_behind(events, "flush", Path(each.path).parent, each.ended).ended
        )
        for frames in numbers("shape", written):
            assert durable[frames] < each.began
            shown.add(frames)
    assert max(durable) in shown, "no document ever showed the whole run"


def numbers(name: str, event: Event) -> list[int]:
    """Return the numbers that stand behind a name in what was written."""
    return [int(each) for each in re.findall(rf'"{name}": ?\[?(\d+)', event.text)]
