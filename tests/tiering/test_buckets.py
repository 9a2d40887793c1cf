"""Tiers in a bucket of an S3 server, on a line that fails, and in a folder without room."""

import http.client
import itertools
import os
import subprocess
from collections.abc import Buffer, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
from blake3 import blake3
from tests.acquisition.storage.server import Fate, Line, bucket_at
from tests.tiering.site import GRACE, Site

from forebay.acquisition.errors import RunDamagedError
from forebay.opening import open_run
from forebay.tiering import connect
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import CopyDamagedError, PlaceUnavailableError, TierFullError
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.probing import probe
from forebay.tiering.storage.shelf import Shelf
from forebay.tiering.storage.tiers import Tier

pytestmark = pytest.mark.s3

each_server = pytest.mark.parametrize("server", ["moto", "seaweedfs"], indirect=True)
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}


@pytest.fixture
def lab(bucket: str, quick: Path) -> Iterator[Site]:
    """A laboratory whose cold tier is a bucket, reached by way of the line."""
    with Site(quick, cold=bucket) as site:
        site.record("water")
        yield site


@each_server
def test_a_run_goes_into_a_bucket_and_comes_back(lab: Site, server: int) -> None:
    """It is read from there by range and whole, and nothing is left when it has come back."""
    lab.move("cold")
    assert lab.lies_in() == {"cold"}
    lab.check_readable()
    lab.move("hot")
    assert lab.lies_in() == {"hot"}
    lab.check_readable()
    left = obstore.list(bucket_at(server, lab.folder.name)).collect()
    assert list(left) == []


@each_server
@pytest.mark.parametrize(
    ("fate", "number"), [("lose request", 0), ("lose reply", 7), ("forbid", 18)]
)
def test_a_line_that_fails_once_costs_time_only(
    lab: Site, line: Line, fate: Fate, number: int
) -> None:
    """Whichever request it is, and whether or not the server has done it."""
    line.harm(number, fate)
    lab.plan("cold")
    lab.settle()
    assert line.harmed == 1
    assert lab.lies_in() == {"cold"}
    lab.check_readable()


@each_server
def test_a_line_that_is_cut_keeps_the_run_where_it_is(lab: Site, line: Line) -> None:
    """The move waits, goes on where it was when the line is back, and copies nothing twice."""
    line.cut(6)
    move = lab.plan("cold")
    lab.work()
    now = lab.moves.get(move.move)
    assert now.state == MoveState.COPYING
    assert now.error is not None
    assert "hush" not in now.error
    assert "AKIAEXAMPLE" not in now.error
    assert line.harmed > 0
    line.always("pass")
    done = len(lab.catalogue.progress(now.target or ""))
    assert done == 6
    lab.settle()
    assert lab.lies_in() == {"cold"}


def test_a_bit_that_flips_on_its_way_is_found_and_the_object_is_put_once_more(
    lab: Site, line: Line
) -> None:
    """Whether the server, which takes it as it comes, or the reader is at the end of that way."""
    line.harm(3, "flip request")
    lab.plan("cold")
    lab.settle()
    assert line.harmed == 1
    assert lab.lies_in() == {"cold"}
    line.fate = lambda method, path: "flip reply" if "/frames/c." in path else "pass"
    with pytest.raises(RunDamagedError, match="has changed in"):
        open_run(lab.runs / "water").frames.to_numpy()
    line.always("pass")
    lab.check_readable()


def test_a_server_that_fails_now_and_then_costs_time_only(lab: Site, line: Line) -> None:
    """Each fourth request gets 503 or 500."""
    fates: Iterator[Fate] = itertools.cycle(
        ("pass", "pass", "pass", "busy", "pass", "pass", "pass", "fail")
    )
    line.fate = lambda method, path: next(fates)
    lab.plan("cold")
    lab.settle()
    assert line.harmed > 5
    line.always("pass")
    assert lab.lies_in() == {"cold"}
    lab.check_readable()


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(
    lab: Site, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move says so, waits, and goes on when there are answers again."""
    lab.plan("cold")
    line.always("hang")
    with monkeypatch.context() as impatient:
        impatient.setattr(connect, "PUT_TIMEOUT", timedelta(milliseconds=300))
        (move,) = lab.work()
    assert move.state == MoveState.COPYING
    assert "check the network" in (move.error or "")
    lab.check_readable()
    line.always("pass")
    lab.settle()
    assert lab.lies_in() == {"cold"}


def test_who_may_not_write_is_told_so(lab: Site, line: Line) -> None:
    """In one line, and the run lies where it lay."""
    line.fate = lambda method, path: "pass" if method in {"GET", "HEAD"} else "forbid"
    lab.plan("cold")
    (move,) = lab.work()
    assert move.error is not None
    assert "cannot be written: check the credentials" in move.error
    lab.check_readable()
    assert probe(lab.tiers["cold"]).problem is not None


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_wrong_credentials_are_named_and_not_shown(
    lab: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that checks signatures refuses them, and the run lies where it lay."""
    lab.plan("cold")
    with monkeypatch.context() as wrong:
        wrong.setenv("AWS_SECRET_ACCESS_KEY", "not-that-one")
        (move,) = lab.work()
    assert move.error is not None
    assert "the credentials in the environment are wrong; check them" in move.error
    assert "not-that-one" not in move.error
    assert lab.lies_in() == {"hot"}


def test_a_bucket_that_is_not_there(lab: Site) -> None:
    """Nothing is moved."""
    missing = TierSpecification(url="s3://no-such-bucket/a")
    found = probe(Tier("cold", missing))
    assert found.problem is not None
    assert "s3://no-such-bucket/a" in found.problem
    assert "\n" not in found.problem


def test_a_reader_goes_on_with_another_copy_where_a_bucket_does_not_answer(
    lab: Site, line: Line
) -> None:
    """And with the bucket, where a folder has lost an object."""
    lab.move("warm", keep=True)
    lab.move("cold")
    assert lab.lies_in() == {"warm", "cold"}
    line.always("lose request")
    lab.check_readable()
    line.always("pass")
    (lab.copy_in("warm") / "frames" / "c.0.0.0").unlink()
    lab.check_readable()


@each_server
def test_an_object_in_several_parts_has_no_name_before_all_of_it_was_compared(
    lab: Site, server: int
) -> None:
    """One that does not match leaves nothing; one that does is the same when it is read back."""
    content = os.urandom(20 * 2**20)
    known = KnownObject(len(content), blake3(content).hexdigest())
    source = lab.tiers["warm"].shelf("large")
    source.put("object", content)
    target = lab.tiers["cold"].shelf("large")
    with pytest.raises(CopyDamagedError, match="is not what it was"):
        target.copy("object", KnownObject(known.bytes, "0" * 64), source)
    assert target.look("object") is None
    target.copy("object", known, source)
    assert target.look("object") == known


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_meanwhile(site: Site, small: Path) -> None:
    """The move waits for room, and goes on when there is some; nothing half is left."""
    site.specifications["cold"] = TierSpecification(url=small)
    site.database.close()
    site.open()
    filler = small / "filler"
    filler.write_bytes(bytes(4 * 2**20 - 16 * 4096))
    move = site.plan("cold")
    site.work()
    now = site.moves.get(move.move)
    assert now.state == MoveState.COPYING
    assert now.error is not None
    assert "has no room left: free some" in now.error
    site.check_readable()
    filler.unlink()
    site.pass_by(60)
    site.work()
    site.pass_by(GRACE + 1)
    site.work()
    assert site.lies_in() == {"cold"}
    assert not [name for name in site.files("cold") if "#" in name]


def test_a_disk_with_too_little_room_is_not_filled(site: Site, small: Path) -> None:
    """Half a copy that waits would take what a recorder needs; the move waits however long."""
    site.specifications["cold"] = TierSpecification(url=small)
    site.database.close()
    site.open()
    filler = small / "filler"
    filler.write_bytes(bytes(4 * 2**20 - 4096))
    move = site.plan("cold")
    for _ in range(2 * site.settings.most_attempts):
        site.work()
        site.pass_by(61)
    now = site.moves.get(move.move)
    assert now.state == MoveState.PLANNED
    assert "has 4096 bytes left on its disk, and the run has" in (now.error or "")
    assert site.files("cold") == {"filler"}
    filler.unlink()
    site.work()
    site.pass_by(GRACE + 1)
    site.work()
    assert site.lies_in() == {"cold"}


class Forgetful(Shelf):
    """A place that says yes to everything and keeps nothing."""

    def _put(self, key: str, parts: Iterator[Buffer], **_: Any) -> None:
        """Take what comes and put it nowhere."""
        for _part in parts:
            pass


class Decaying(Shelf):
    """A place that keeps everything but one bit of it."""

    def _put(self, key: str, parts: Iterator[Buffer], **options: Any) -> None:
        """Flip the last bit of what was put."""
        super()._put(key, parts, **options)
        assert self.folder is not None
        content = (self.folder / key).read_bytes()
        (self.folder / key).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("place", [Forgetful, Decaying])
def test_a_tier_that_lies_is_found_out(
    site: Site, monkeypatch: pytest.MonkeyPatch, place: type[Shelf]
) -> None:
    """What is not given back was never put; nothing is deleted for its sake."""
    move = site.plan("cold")
    real = Tier.shelf

    def shelf(tier: Tier, path: str) -> Shelf:
        made = real(tier, path)
        if tier.name != "cold":
            return made
        return place(made.bucket, made.path, made.where, made.folder, made.attributes)

    monkeypatch.setattr(Tier, "shelf", shelf)
    site.settle()
    now = site.moves.get(move.move)
    assert now.state == MoveState.FAILED
    assert now.error is not None
    assert "was put there twice, and other bytes were read back each time" in now.error
    assert site.lies_in() == {"hot"}
    assert probe(site.tiers["cold"]).problem is not None
    site.check_readable()
    assert issubclass(TierFullError, PlaceUnavailableError)


def test_a_real_bucket_with_versioning_is_refused(lab: Site, server: int) -> None:
    """Its server tells by the version that it gives to what is put; nothing is moved there."""
    versioned = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    for path, body in (("/versions", None), ("/versions?versioning", versioned)):
        connection = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
        connection.request("PUT", path, body=body, headers=SIGNED)
        assert connection.getresponse().status == 200
        connection.close()
    lab.specifications["cold"] = TierSpecification(url="s3://versions/a")
    lab.database.close()
    lab.open()
    lab.plan("cold")
    (move,) = lab.work()
    assert move.error is not None
    assert "keeps old versions of what is deleted" in move.error
    assert lab.lies_in() == {"hot"}
