"""Results are sent along with their run: whole, entered where they arrive, never twice."""

import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.tiering.site import Site
from tests.tiering.test_results import LISTED, Published, listed

from forebay.engine import Algorithm, Result, open_result, process
from forebay.engine.errors import UnitsFailedError
from forebay.engine.results.bundles import LedgerElsewhere, contents_of_result
from forebay.opening import open_run
from forebay.tiering.errors import CopyDamagedError, TransferStoppedError
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.destination import destination_at
from forebay.tiering.handoff.receipt import RECEIPT
from forebay.tiering.handoff.results import (
    HANDED,
    ResultContents,
    destination_of_result,
    handed_over,
)
from forebay.tiering.handoff.sending import Sent, Transfer
from forebay.tiering.storage.shelf import Shelf


@pytest.fixture
def lab(site: Site) -> Published:
    """A laboratory with a run in the hot tier, and a folder of runs elsewhere."""
    (site.folder / "away").mkdir()
    return Published(site)


def send(run: Path | str, to: Path | str, results: Any = (), **options: Any) -> list[Sent]:
    """Send a run, and some of its results."""
    contents = contents_of(run)
    destination = destination_at(to, contents.name)
    folder = destination.shelf.folder
    ledger = None
    if folder is not None:
        among = folder.parent / "results"
        ledger = LedgerElsewhere(among / "ledger.sqlite", among, contents.run_id, str(folder))
    own = contents.own_shelf
    sent = [Transfer(contents, destination, own).run()]
    for each in results:
        result = each if isinstance(each, ResultContents) else contents_of_result(each.path)
        to_there = destination_of_result(result, destination, ledger)
        sent.append(Transfer(result, to_there, own, **options).run())
    return sent


def arrived(lab: Published, result: Result) -> Path:
    """Return where a result lies among those at the other place."""
    return lab.site.folder / "away" / "results" / "water" / result.path.name


@pytest.mark.parametrize("tier", ["hot", "packed"])
def test_a_result_is_entered_where_its_run_is_sent(lab: Published, tier: str) -> None:
    """From whichever tier; nothing is computed there again, and both ends have the receipt."""
    result = lab.process()
    rows = result.table()
    if tier != "hot":
        lab.move(tier)
    away = lab.site.folder / "away"
    _, sent = send(lab.site.runs / "water", away, [result])
    assert (sent.state, sent.sent_objects) == ("sent", 7)
    pd.testing.assert_frame_equal(open_result(arrived(lab, result)).table(), rows)
    assert process(open_run(away / "water"), LISTED).computed == 0
    there = away / "water" / HANDED / result.path.name
    kept = (lab.site.runs / "water" / "_forebay" / "handoff").glob("sent-*.json")
    assert (there / RECEIPT).read_bytes() in [each.read_bytes() for each in kept]
    # What it came in is gone, and sending it again sends nothing.
    assert [each.name for each in there.parent.iterdir()] == [there.name]
    again = send(lab.site.runs / "water", away, [result])
    assert [each.state for each in again] == ["there already", "there already"]
    assert again[1].receipt == sent.receipt


def test_what_was_sent_is_not_sent_again_and_counts_when_all_has_come(lab: Published) -> None:
    """A transfer that was stopped goes on; until then, the ledger there knows nothing of it."""
    result = lab.process()
    away = lab.site.folder / "away"
    stop, seen = threading.Event(), []

    def reached(point: str) -> None:
        seen.append(point)
        if seen.count("object there") == 3:
            stop.set()

    with pytest.raises(TransferStoppedError):
        send(lab.site.runs / "water", away, [result], streams=1, stop=stop, reached=reached)
    assert open_run(away / "water").verify().ok
    assert not (away / "results").exists()
    _, sent = send(lab.site.runs / "water", away, [result])
    assert sent.sent_objects == 7 - 3
    assert len(open_result(arrived(lab, result)).table()) == 5


def test_parts_that_come_later_are_sent_later(lab: Published) -> None:
    """A result of which more was published since is another one to send; what is there stays."""
    working: list[bool] = []

    def unlucky(frames: Any) -> pd.DataFrame:
        if not working and int(frames.t[0]) == 2:
            raise RuntimeError("no luck")
        return listed(frames)

    algorithm = Algorithm("unlucky", "1.0.0", unlucky)
    away = lab.site.folder / "away"
    with pytest.raises(UnitsFailedError):
        lab.process(algorithm)
    (path,) = (lab.site.runs / "results" / "water").iterdir()
    send(lab.site.runs / "water", away, [open_result(path)])
    there = away / "results" / "water" / path.name
    first = {each.name for each in (there / "parts").iterdir()}
    assert len(first) == 2
    working.append(True)
    result = lab.process(algorithm)
    _, sent = send(lab.site.runs / "water", away, [result])
    assert sent.state == "sent"
    assert len(open_result(there).table()) == 5
    assert {each.name for each in (there / "parts").iterdir()} > first


def test_a_result_that_is_damaged_is_not_sent(lab: Published) -> None:
    """The run is there, and nothing of the result."""
    result = lab.process()
    contents = contents_of_result(result.path)
    damaged = ResultContents(
        contents.name, contents.run_id, contents.objects, lambda key: b"other " + key.encode()
    )
    with pytest.raises(CopyDamagedError, match="has changed since it was published"):
        send(lab.site.runs / "water", lab.site.folder / "away", [damaged])
    assert not (lab.site.folder / "away" / "results").exists()


@pytest.mark.s3
def test_a_result_goes_to_a_bucket_and_on_to_a_folder(lab: Published, bucket: str) -> None:
    """In the bucket it lies with its run; where it is sent to from there, it is entered."""
    result = lab.process()
    for state in ("sent", "there already"):
        _, sent = send(lab.site.runs / "water", bucket, [result])
        assert sent.state == state
    there = contents_of(f"{bucket}/water")
    assert there.run.verify().ok
    handed = handed_over(there.own_shelf)
    assert list(handed) == [result.path.name]
    # A result that has changed since replaces what was sent of it.
    shelf: Shelf = destination_of_result(
        handed[result.path.name], destination_at(bucket, "water"), None
    ).shelf
    shelf.put("stray", b"of another manifest")
    shelf.put("_forebay/handoff/manifest.json", b'{"format":1,"run_id":"x","objects":{}}')
    _, sent = send(lab.site.runs / "water", bucket, [result])
    assert (sent.state, sent.sent_objects) == ("sent", 0)
    assert "stray" not in shelf.sizes()
    away = lab.site.folder / "away"
    send(f"{bucket}/water", away, handed_over(there.own_shelf).values())
    pd.testing.assert_frame_equal(open_result(arrived(lab, result)).table(), result.table())
