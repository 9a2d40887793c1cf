"""A run in a bucket of an S3 server, through answers that are lost and writers that die."""

import pytest

from forebay.acquisition import RunWriter
from forebay.acquisition.errors import (
    RunExistsError,
    RunNotFoundError,
    RunTakenOverError,
    StorageError,
)
from tests.acquisition.storage.conftest import NewBucket
from tests.acquisition.storage.frames import (
    append,
    check_whole,
    counters_of,
    create,
    read,
    take_over,
)
from tests.acquisition.storage.server import Line, bucket_at

pytestmark = pytest.mark.s3

FRAMES = range(5)
"""Two blocks, and a short one."""


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
        line.at(number, "lose reply", method="PUT")
        with create(through) as writer:
            append(writer, FRAMES)
        if not line.harmed:
            break
        assert line.harmed == 1
        assert check_whole(bucket) == [*FRAMES]
        number += 1
    # Five documents twice, three logs' objects and their check, four objects of three blocks.
    assert number > 20


def test_whatever_put_is_lost_on_its_way_is_made_again(new_bucket: NewBucket, line: Line) -> None:
    for number in range(0, 24, 3):
        bucket, through = new_bucket()
        line.at(number, "lose request", method="PUT")
        with create(through) as writer:
            append(writer, FRAMES)
        assert line.harmed
        assert check_whole(bucket) == [*FRAMES]


@pytest.mark.parametrize("fate", ["lose request", "lose reply"])
def test_wherever_a_writer_is_cut_off_the_run_goes_on(
    new_bucket: NewBucket, line: Line, fate: str
) -> None:
    """From one request on nothing comes through; the next writer goes on behind what is committed.

    A frame whose commit was acknowledged is there; one that was not may be, or is accounted for.
    """
    number, acknowledged = 0, -1
    while True:
        bucket, through = new_bucket()
        line.at(number, fate, later=True)  # type: ignore[arg-type]
        acknowledged = _write_until_cut_off(through)
        if not line.harmed:
            break
        _check_goes_on(lambda: take_over(bucket), bucket, acknowledged)
        number += 1
    assert acknowledged == len(FRAMES)
    assert number > 25


def _write_until_cut_off(through: object) -> int:
    """Return how many frames were acknowledged as committed."""
    acknowledged = 0
    writer: RunWriter | None = None
    try:
        writer = create(through)  # type: ignore[arg-type]
        for counter in FRAMES:
            append(writer, range(counter, counter + 1))
            acknowledged = writer.committed
        writer.close()
        acknowledged = writer.committed
    except StorageError:
        if writer is not None:
            writer.abandon()
    return acknowledged


def _check_goes_on(resume: object, bucket: object, acknowledged: int) -> None:
    raise NotImplementedError
