"""Blocks of open runs move the same way wherever the catalogue lies, and whatever the tier is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ByteSize
from tests.tiering.site import GRACE, Killed, Site, killed_at, on_each_database
from tests.tiering.stream import OPTIONS, Stream

from forebay.tiering.catalogue.records import Kind
from forebay.tiering.reading.block_volumes import BLOCK_VOLUMES
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import TierSpecification

PACKS = ByteSize(700)
"""Several objects of these small blocks lie in one."""


@pytest.fixture
def stream(quick: Path, ledger: Path | str) -> Iterator[Stream]:
    """A run that is still recorded, of which blocks go into packs in a folder."""
    yield from streamed(quick, ledger, str(quick / "cold"), PACKS)


@pytest.fixture
def in_bucket(
    request: pytest.FixtureRequest, quick: Path, ledger: Path | str, bucket: str
) -> Iterator[Stream]:
    """The same with a bucket, in packs or not."""
    yield from streamed(quick, ledger, bucket, request.param)


def streamed(
    folder: Path, ledger: Path | str, cold: str, packs: ByteSize | None
) -> Iterator[Stream]:
    with Site(folder, ledger=ledger, cold=cold, **OPTIONS) as site:
        site.specifications["cold"] = TierSpecification(url=cold, pack_bytes=packs)
        site.database.close()
        site.open()
        made = Stream(site)
        yield made
        made.writer.abandon()


@on_each_database
def test_in_packs_of_a_folder(stream: Stream) -> None:
    """Packs are made for each volume by itself."""
    goes_and_comes_back(stream)


@pytest.mark.s3
@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
@pytest.mark.parametrize("in_bucket", [None, PACKS], ids=["objects", "packs"], indirect=True)
@on_each_database
def test_in_a_bucket(in_bucket: Stream) -> None:
    """Of a server that people keep their data on."""
    goes_and_comes_back(in_bucket)


def goes_and_comes_back(stream: Stream) -> None:
    """Move, read, kill, resume, find again, close and bring home; no frame is ever missing."""
    site = stream.site
    stream.record(8)
    first = stream.known().pieces(stream.path)[0]
    site.moves.plan(first, tier="cold", keep=False, why="a test")
    # Killed at one point after the other until it has come through.
    for number in range(1, 400, 7):
        try:
            site.mover(killed_at(number)).work()
        except Killed:
            site.pass_by(site.settings.lease_seconds + 1)
            stream.check()
            continue
        if not site.moves.find():
            break
        site.pass_by(GRACE + 1)
    assert stream.at_home() == [3, 4, 5, 6, 7]
    stream.resume()
    stream.record(4)
    stream.move("cold")
    assert stream.at_home() == [10, 11]
    stream.check()
    found = scrub(site.catalogue, site.tiers, site.catalogue.runs())
    assert (found.put_right, found.lost, found.unreachable) == ([], [], [])
    # The catalogue is lost, and found again in the tiers.
    known = {each.run_id for each in site.catalogue.at(stream.path)}
    site.forget_everything()
    assert scan(site.catalogue, site.tiers, repair=True).not_whole == []
    assert {each.run_id for each in site.catalogue.at(stream.path)} == known
    stream.check()
    stream.writer.close()
    stream.check()
    stream.move("hot")
    assert stream.at_home() == [*range(12)]
    assert [each.kind for each in stream.known().pieces(stream.path)] == [Kind.RAW]
    assert [*(stream.path / BLOCK_VOLUMES).iterdir()] == []
    stream.check()
    stream.move("cold")
    assert stream.at_home() == []
    stream.check()
