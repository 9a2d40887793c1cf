"""Tiers in S3 whose objects are encrypted by the server, or locked against deletion."""

import http.client
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ByteSize, ValidationError
from tests.acquisition.storage.server import BUCKET
from tests.tiering.site import GRACE, Site

from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.probing import probe
from forebay.tiering.storage.s3 import S3Place

SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request"}
KEY = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"


@pytest.fixture
def lab(server: int, bucket: str, quick: Path) -> Iterator[Site]:
    """A laboratory with one run, and a bucket with object lock beside the plain one."""
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
    locking = {**SIGNED, "x-amz-bucket-object-lock-enabled": "true"}
    connection.request("PUT", "/locked", headers=locking)
    assert connection.getresponse().status == 200
    connection.close()
    with Site(quick) as site:
        site.record("water", frames=3)
        yield site


def cold_is(site: Site, **fields: Any) -> TierSpecification:
    """Let the cold tier be another one."""
    site.specifications["cold"] = TierSpecification(**fields)
    site.database.close()
    site.open()
    return site.specifications["cold"]


def heads(site: Site) -> dict[str, dict[str, Any]]:
    """Return what S3 says of each object of the copy in the cold tier."""
    run = site.take_in()
    (shelf,) = [each for each in site.catalogue.shelves(run.run_id) if each.tier == "cold"]
    place = S3Place(site.tiers["cold"].where(shelf.path))
    return {name: place.head(name) for name in site.tiers["cold"].shelf(shelf.path).stored()}


@pytest.mark.s3
@pytest.mark.parametrize("storage_class", [None, "GLACIER"])
def test_all_that_is_put_is_encrypted_as_asked(lab: Site, storage_class: str | None) -> None:
    """In an archive too, where objects become new ones when they are put away."""
    cold = cold_is(
        lab,
        url=f"s3://{BUCKET}/{lab.folder.name}",
        storage_class=storage_class,
        encryption="aws:kms",
        encryption_key=KEY,
    )
    assert probe(lab.tiers["cold"]).problem is None
    assert lab.move("cold").state is MoveState.DONE
    found = heads(lab)
    assert len(found) > 10
    for name, head in found.items():
        assert head["ServerSideEncryption"] == "aws:kms", name
        assert head["SSEKMSKeyId"] == KEY
        assert head.get("StorageClass") == (None if "copy.json" in name else cold.storage_class)
    shelf = lab.tiers["cold"].shelf("large")
    shelf.put_parts("object", iter([bytes(6 * 2**20)] * 2))
    large = S3Place(lab.tiers["cold"].where("large")).head("object")
    assert (large["ServerSideEncryption"], large["SSEKMSKeyId"]) == ("aws:kms", KEY)


@pytest.mark.s3
def test_what_is_locked_stays_and_says_until_when(lab: Site) -> None:
    """The run can be read elsewhere, and the old copy goes when it may."""
    cold_is(
        lab,
        url=f"s3://locked/{lab.folder.name}",
        versioned=True,
        lock_days=30,
        pack_bytes=ByteSize(700),
    )
    assert probe(lab.tiers["cold"]).problem is None
    assert lab.move("cold").state is MoveState.DONE
    before = heads(lab)
    in_a_month = datetime.now(UTC) + timedelta(days=30)
    for name, head in before.items():
        assert head["ObjectLockMode"] == "GOVERNANCE", name
        assert abs(head["ObjectLockRetainUntilDate"] - in_a_month) < timedelta(minutes=10)
    back = lab.move("hot")
    assert back.state is MoveState.DELETING
    assert back.error is not None
    assert f"is locked until {in_a_month:%Y-%m-%d}" in back.error
    assert "nothing is deleted there before" in back.error
    assert "\n" not in back.error
    assert lab.lies_in() == {"hot", "cold"}
    lab.check_readable(frames=3)
    run = lab.take_in()
    (shelf,) = [each for each in lab.catalogue.shelves(run.run_id) if each.tier == "cold"]
    place = S3Place(lab.tiers["cold"].where(shelf.path))
    for name in before:
        past = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.now(UTC) - timedelta(days=1)}
        place.client.put_object_retention(
            Bucket=place.bucket,
            Key=place.key(name),
            Retention=past,
            BypassGovernanceRetention=True,
        )
    lab.pass_by(GRACE + 4000)
    lab.settle()
    assert lab.moves.get(back.move).state is MoveState.DONE
    assert lab.lies_in() == {"hot"}


@pytest.mark.s3
def test_what_is_put_right_in_a_locked_tier_is_locked_again(lab: Site) -> None:
    """It is another version, which has no lock of its own."""
    cold_is(lab, url=f"s3://locked/{lab.folder.name}", versioned=True, lock_days=30)
    lab.plan("cold", keep=True)
    lab.settle()
    run = lab.take_in()
    (cold,) = [each for each in lab.catalogue.shelves(run.run_id) if each.tier == "cold"]
    lab.tiers["cold"].shelf(cold.path).put("frames/c.1.0.0", b"damaged")
    assert "ObjectLockMode" not in heads(lab)["frames/c.1.0.0"]
    assert len(scrub(lab.catalogue, lab.tiers, [run]).put_right) == 1
    assert heads(lab)["frames/c.1.0.0"]["ObjectLockMode"] == "GOVERNANCE"
    assert lab.lies_in() == {"hot", "cold"}


@pytest.mark.s3
def test_a_bucket_without_object_lock_is_named(lab: Site) -> None:
    """When it is tried out, and when a move gets there: the run stays where it was."""
    cold_is(lab, url=f"s3://{BUCKET}/{lab.folder.name}", versioned=True, lock_days=30)
    assert "cannot be locked" in (probe(lab.tiers["cold"]).problem or "")
    lab.plan("cold")
    (move,) = lab.work()
    assert move.state is MoveState.VERIFIED
    assert "cannot be locked" in (move.error or "")
    assert lab.lies_in() >= {"hot"}
    lab.check_readable(frames=3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "/cold", "encryption": "AES256"}, "encryption is for a tier in s3://"),
        ({"url": "gs://b/p", "lock_days": 3}, "lock_days is for a tier in s3://"),
        ({"url": "s3://b", "encryption_key": "k"}, "encryption_key is for encryption = 'aws:kms'"),
        ({"url": "s3://b", "lock_days": 3}, "lock_days needs versioned = true"),
        ({"url": "s3://b", "encryption": "rot13"}, "AES256"),
        ({"url": "az://c/p", "storage_class": "Archive"}, "Archive cannot be recalled from here"),
    ],
)
def test_protection_that_cannot_be_had_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TierSpecification.model_validate(given)
