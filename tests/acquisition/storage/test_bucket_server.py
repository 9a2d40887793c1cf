"""A run in a bucket of an S3 server, through answers that are lost and writers that die."""

import pytest
from obstore.store import ObjectStore as Bucket
from tests.acquisition.storage.conftest import NewBucket
from tests.acquisition.storage.frames import (
    append,
    check_whole,
    counters_of,
    create,
    read,
    take_over,
)
from tests.acquisition.storage.server import Fate, Line, bucket_at

from forebay.acquisition import RunWriter
from forebay.acquisition.errors import (
    RunExistsError,
    RunNotFoundError,
    RunTakenOverError,
    StorageError,
)

pytestmark = pytest.mark.s3

FRAMES = range(3)
"""A block, and a short one."""


def test_a_run_is_read_back_by_us_and_by_others(new_bucket: NewBucket) -> None:
    bucket, _ = new_bucket()
    with create(bucket) as writer:
        append(writer, FRAMES)
    assert check_whole(bucket) == [*FRAMES]


def test_whatever_answer_to_a_put_is_lost_the_run_is_whole(
    new_bucket: NewBucket, line: Line
) -> None:
    """The put was done; tried again it meets its own object, and knows it."""
    number = 0
    while True:
        bucket, through = new_bucket()
        line.harm(number, "lose reply")
        with create(through) as writer:
            append(writer, FRAMES)
        if not line.harmed:
            break
        assert check_whole(bucket) == [*FRAMES]
        number += 1
    assert number > 18


def test_whatever_put_is_lost_on_its_way_is_made_again(new_bucket: NewBucket, line: Line) -> None:
    for number in range(0, 18, 3):
        bucket, through = new_bucket()
        line.harm(number, "lose request")
        with create(through) as writer:
            append(writer, FRAMES)
        assert line.harmed
        assert check_whole(bucket) == [*FRAMES]


def test_wherever_a_writer_is_cut_off_the_run_goes_on(new_bucket: NewBucket, line: Line) -> None:
    """From one put on nothing comes through, and then the next writer comes.

    A frame whose commit was acknowledged is there; any other is there or is accounted for.
    """
    number = 0
    while True:
        bucket, through = new_bucket()
        line.cut(number)
        acknowledged = record_until_cut_off(through)
        if not line.harmed:
            break
        go_on(bucket, acknowledged)
        number += 1
    assert acknowledged == len(FRAMES)
    assert number > 18


def test_wherever_a_takeover_is_cut_off_another_one_succeeds(
    new_bucket: NewBucket, line: Line
) -> None:
    number = 0
    while True:
        bucket, through = new_bucket()
        first = create(bucket)
        append(first, range(3))
        first.abandon()
        line.cut(number)
        try:
            take_over(through).abandon()
        except (StorageError, RunNotFoundError):
            assert line.harmed
        if not line.harmed:
            break
        go_on(bucket, 2)
        number += 1
    assert number >= 7


def test_a_writer_that_was_taken_over_ends_at_its_next_commit(new_bucket: NewBucket) -> None:
    """It learns of it by the place in the log that it finds taken."""
    bucket, _ = new_bucket()
    former, later = create(bucket), None
    append(former, range(2))
    later = take_over(bucket)
    with pytest.raises(RunTakenOverError, match="was taken over by another writer"):
        append(former, range(2, 4))
    former.abandon()
    append(later, range(3, 5))
    later.close()
    assert check_whole(bucket) == [0, 1, 3, 4]
    assert [(each.first, each.last) for each in read(bucket).dropped] == [(2, 2)]


def test_what_is_committed_just_before_the_seal_counts(new_bucket: NewBucket, line: Line) -> None:
    """The seal finds its place taken, and goes behind what took it."""
    bucket, through = new_bucket()
    former = create(bucket)
    append(former, range(2))
    committed: list[int] = []

    def commit_first(method: str, path: str) -> Fate:
        if method == "PUT" and not committed:
            append(former, range(2, 4))
            committed.append(former.committed)
        return "pass"

    line.fate = commit_first
    later = take_over(through)
    assert committed == [4]
    assert later.committed == 4
    with pytest.raises(RunTakenOverError):
        append(former, range(4, 6))
    former.abandon()
    append(later, range(6, 8))
    later.close()
    assert check_whole(bucket) == [0, 1, 2, 3, 6, 7]


def test_a_bucket_that_refuses_is_named_with_what_helps(new_bucket: NewBucket, line: Line) -> None:
    _, through = new_bucket()
    line.always("forbid")
    with pytest.raises(StorageError, match="permission is denied; check the credentials"):
        create(through)
    line.harm(1, "forbid")
    with pytest.raises(StorageError, match="permission is denied; check the credentials") as denied:
        create(new_bucket()[1])
    assert "\n" not in str(denied.value)
    assert "secret" not in str(denied.value)


def test_a_bucket_that_is_not_there_is_named(server: int) -> None:
    with pytest.raises(StorageError, match=r"no-such-bucket.*there is no such bucket"):
        create(bucket_at(server, "runs/water", bucket="no-such-bucket"))


def test_a_bucket_that_does_not_answer_is_named() -> None:
    with pytest.raises(StorageError, match="does not answer, or not to us"):
        create(bucket_at(1, "runs/water"))


def test_a_bucket_without_conditions_is_refused(new_bucket: NewBucket, line: Line) -> None:
    """Some servers take the condition and do not keep it, and two writers would not meet."""
    _, through = new_bucket()
    line.always("ignore conditions")
    with pytest.raises(StorageError, match="knows conditional puts"):
        create(through)


def record_until_cut_off(bucket: Bucket) -> int:
    """Write a run as far as it goes; return how many frames were acknowledged as committed."""
    acknowledged = 0
    writer: RunWriter | None = None
    try:
        writer = create(bucket)
        for counter in FRAMES:
            append(writer, range(counter, counter + 1))
            acknowledged = writer.committed
        writer.close()
        acknowledged = writer.committed
    except StorageError:
        if writer is not None:
            acknowledged = max(acknowledged, writer.committed)
            writer.abandon()
    return acknowledged


def go_on(bucket: Bucket, acknowledged: int) -> None:
    """Take the run over, record more, and check that all of it is as promised."""
    try:
        writer = take_over(bucket)
    except RunNotFoundError:
        assert acknowledged == 0
        with create(bucket) as writer:
            append(writer, range(7, 10))
        assert check_whole(bucket) == [7, 8, 9]
        return
    except RunExistsError:
        assert check_whole(bucket) == [*FRAMES]
        return
    assert writer.committed >= acknowledged
    kept = counters_of(read(bucket))
    assert kept == [*FRAMES][: len(kept)]
    with writer:
        append(writer, range(7, 10))
    assert check_whole(bucket) == [*kept, 7, 8, 9]
