"""A run that is sent to another site: whole or not seen, never twice, and acknowledged."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiering.site import Site

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.run.recompress import pixels_digest
from forebay.opening import open_run
from forebay.tiering.errors import (
    CopyDamagedError,
    PlaceUnavailableError,
    TargetTakenError,
    TransferStoppedError,
    UnknownPlaceError,
)
from forebay.tiering.handoff.budget import ByteBudget
from forebay.tiering.handoff.contents import Contents, contents_of
from forebay.tiering.handoff.destination import FolderDestination, destination_at
from forebay.tiering.handoff.receipt import MANIFEST, RECEIPT, digest_of
from forebay.tiering.handoff.repacking import send_repacked
from forebay.tiering.handoff.sending import Sent, Transfer
from forebay.tiering.storage.shelf import Shelf


@pytest.fixture
def away(site: Site) -> Path:
    """A folder of runs at another site."""
    folder = site.folder / "away"
    folder.mkdir()
    return folder


def send(
    run: Path,
    away: Path | str,
    *,
    reached: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
    rate: float | None = None,
    name: str | None = None,
) -> Sent:
    """Send a run."""
    contents = contents_of(run, name=name)
    destination = destination_at(away, contents.name)
    return Transfer(
        contents,
        destination,
        contents.own_shelf,
        reached=reached,
        stop=stop,
        bytes_per_second=rate,
    ).run()


def is_whole(run: Path | str) -> bool:
    """Tell whether a run is there and as it was committed."""
    return open_run(run).verify().ok


def test_a_run_is_sent_whole_and_both_ends_have_the_same_receipt(site: Site, away: Path) -> None:
    sent = send(site.runs / "water", away)
    assert sent.state == "sent"
    assert sent.sent_objects == sent.receipt.objects == 18
    assert is_whole(away / "water")
    manifest = (away / "water" / MANIFEST).read_bytes()
    assert sent.receipt.manifest == digest_of(manifest)
    (kept,) = (site.runs / "water" / "_forebay" / "handoff").glob("sent-*.json")
    assert kept.read_bytes() == (away / "water" / RECEIPT).read_bytes()
    assert [each.name for each in away.iterdir()] == ["water"]


def test_a_second_transfer_sends_nothing_and_says_so(site: Site, away: Path) -> None:
    first = send(site.runs / "water", away)
    again = send(site.runs / "water", away)
    assert (again.state, again.sent_objects) == ("there already", 0)
    assert again.receipt == first.receipt


def test_the_manifest_is_the_same_on_each_stage_of_the_way(site: Site, away: Path) -> None:
    """From the instrument to a computing centre, and on to an archive."""
    last = site.folder / "last"
    last.mkdir()
    first = send(site.runs / "water", away)
    site.move("cold")
    assert send(site.runs / "water", away).state == "there already"
    second = send(away / "water", last)
    assert second.receipt.manifest == first.receipt.manifest
    assert is_whole(last / "water")


@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_what_lies_in_colder_tiers_is_sent_from_there(site: Site, away: Path, tier: str) -> None:
    site.move(tier)
    send(site.runs / "water", away)
    assert is_whole(away / "water")


def test_what_is_there_is_not_sent_again(site: Site, away: Path) -> None:
    """After it was stopped; what has changed there meanwhile is sent once more."""
    stop = threading.Event()
    seen = []

    def reached(point: str) -> None:
        seen.append(point)
        if seen.count("object there") == 9:
            stop.set()

    with pytest.raises(TransferStoppedError, match="the same command goes on"):
        send(site.runs / "water", away, reached=reached, stop=stop)
    assert not (away / "water").exists()
    (aside,) = (each for each in away.iterdir() if each.is_dir())
    there = [each for each in aside.rglob("c.*") if each.is_file()]
    assert len(there) >= 9
    there[0].write_bytes(bytes(there[0].stat().st_size))
    sent = send(site.runs / "water", away)
    assert sent.sent_objects == 18 - len(there) + 1
    assert is_whole(away / "water")
    assert [each.name for each in away.iterdir()] == ["water"]


def test_other_content_at_the_target_is_left_alone(site: Site, away: Path) -> None:
    """Another run of that name, that one with other content, or anything else."""
    site.record("other")
    contents = contents_of(site.runs / "other", name="water")
    Transfer(contents, FolderDestination(away, "water"), contents.own_shelf).run()
    with pytest.raises(TargetTakenError, match="holds another run"):
        send(site.runs / "water", away)
    assert open_run(away / "water").run_id == contents.run.run_id
    beside = site.folder / "beside"
    (beside / "water").mkdir(parents=True)
    with pytest.raises(TargetTakenError, match="exists already"):
        send(site.runs / "water", beside)
    (beside / "water" / "letter").touch()
    with pytest.raises(TargetTakenError, match="was not sent there"):
        send(site.runs / "water", beside)
    with pytest.raises(TargetTakenError, match="was not sent there"):
        send(site.runs / "water", site.runs)
    manifest = away / "water" / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b"[", b"[1", 1))
    with pytest.raises(TargetTakenError, match="other content of that run"):
        send(site.runs / "other", away, name="water")
    assert is_whole(site.runs / "water")


def test_a_run_that_is_damaged_is_not_sent(site: Site, away: Path) -> None:
    shard = site.runs / "water" / "frames" / "c.1.0.0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(RunDamagedError, match="has changed since it was committed"):
        send(site.runs / "water", away)
    assert not (away / "water").exists()


def test_a_place_that_lies_is_found_out(
    site: Site, away: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that acknowledges what it does not keep: nothing is seen of the run there."""
    real = Shelf.put

    def put(shelf: Shelf, key: str, content: bytes) -> None:
        real(shelf, key, content if key.startswith("_forebay") else content[:-1] + b"x")

    monkeypatch.setattr(Shelf, "put", put)
    with pytest.raises(CopyDamagedError, match="put there twice"):
        send(site.runs / "water", away)
    assert not (away / "water").exists()


def test_places_that_cannot_be_sent_to(site: Site) -> None:
    with pytest.raises(PlaceUnavailableError, match="there is no such folder"):
        send(site.runs / "water", site.folder / "not-mounted")
    with pytest.raises(UnknownPlaceError, match="give a folder"):
        send(site.runs / "water", "ftp://elsewhere/runs")
    with pytest.raises(UnknownPlaceError) as told:
        send(site.runs / "water", "s3://me:hush@bucket/runs")
    assert "hush" not in str(told.value)


class Waited(threading.Event):
    """Waits for nothing, and remembers how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = [0.0]

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return self.is_set()


def test_a_rate_is_kept_to(site: Site, away: Path) -> None:
    """The last object waits until all before it may have gone through."""
    stop = Waited()
    sent = send(site.runs / "water", away, rate=1000.0, stop=stop)
    assert max(stop.seconds) == pytest.approx(sent.receipt.total_bytes / 1000, rel=0.2)


def test_no_more_bytes_are_held_than_allowed() -> None:
    """Whoever wants more waits until some are given back; what is larger goes alone."""
    budget, most, gone_by = ByteBudget(100), [0], threading.Barrier(4)

    def hold(count: int) -> None:
        gone_by.wait(60)
        for _ in range(50):
            with budget.holding(count):
                most[0] = max(most[0], budget.used)

    holders = [threading.Thread(target=hold, args=(each,)) for each in (30, 60, 90, 150)]
    for each in holders:
        each.start()
    for each in holders:
        each.join(60)
    assert budget.used == 0
    assert most[0] <= 150


def test_frames_are_packed_otherwise_on_the_way(site: Site, away: Path) -> None:
    """It is another run with the same pixels; a second transfer knows it again, and packs nothing."""
    contents = contents_of(site.runs / "water")
    destination = FolderDestination(away, "water")
    packed = []

    def go(stop: threading.Event | None = None) -> Sent:
        def send(what: Contents) -> Sent:
            return Transfer(what, destination, contents.own_shelf, stop=stop).run()

        return send_repacked(
            contents, destination, "zstd", site.runs, send=send, on_block=lambda: packed.append(1)
        )

    stopped = threading.Event()
    stopped.set()
    with pytest.raises(TransferStoppedError):
        go(stopped)
    assert len(packed) == 3
    sent = go()
    assert len(packed) == 3, "what was packed is there still"
    assert sent.receipt.source == str(site.runs / "water")
    assert go().state == "there already"
    there = open_run(away / "water")
    assert there.verify().ok
    assert there.layout.compression.name == "zstd"
    assert there.run_id != contents.run.run_id
    assert pixels_digest(there) == pixels_digest(contents.run)
    assert sorted(each.name for each in site.runs.iterdir()) == ["water"]
    with pytest.raises(TargetTakenError, match="holds another run"):
        send(site.runs / "water", away)
