"""The blocks of a run in memory: each as it was committed, and all of them in little room."""

import gc
import pickle
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition import Block, Dropped, Extent, Geometry, ImageMetadata
from forebay.acquisition.format.block_row import BlockRow
from forebay.acquisition.format.codec import Compression
from forebay.acquisition.format.layout import RunLayout
from forebay.acquisition.format.record import StoredObject

MOST_BYTES = 300.0
WHOLE = 8
LAYOUT = RunLayout(
    "5b5f5c1e-0000-4000-8000-000000000000",
    "sample",
    "2026-11-23T08:00:00+00:00",
    Geometry(("y", "x"), (4, 6), np.dtype("uint16")),
    WHOLE,
    Compression("none"),
    ImageMetadata(),
)

counters = st.integers(0, 2**64 - 1)
times = st.integers(-(2**63), 2**63 - 1)
drops = st.lists(st.builds(Dropped, counters, counters, st.text(max_size=30), times), max_size=3)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
stored = st.tuples(st.integers(0, 2**64 - 1), digests)
contents = st.tuples(
    st.tuples(counters, counters),
    st.tuples(times, times),
    drops.map(tuple),
    st.lists(stored, min_size=4, max_size=4),
)


def block(
    number: int,
    frame_ids: tuple[int, int] = (0, 7),
    timestamps: tuple[int, int] = (0, 7),
    dropped: tuple[Dropped, ...] = (),
    objects: Sequence[tuple[int, str]] = ((64, "0" * 64),) * 4,
    *,
    frames: int = WHOLE,
) -> Block:
    start, keys = number * WHOLE, LAYOUT.object_keys(number)
    held = tuple(StoredObject(key, *each) for key, each in zip(keys, objects, strict=True))
    return Block(number, Extent(start, start + frames), frame_ids, timestamps, dropped, held)


def many(number: int) -> Iterator[Block]:
    """Yield blocks that have nothing in common."""
    random = np.random.default_rng(7)
    for place in range(number):
        ids, at = (10**9 + WHOLE * place, 10**9 + WHOLE * place + 7), 10**18 + 10**6 * place
        objects = [(10**8 + place, random.bytes(32).hex()) for _ in range(4)]
        yield block(place, ids, (at, at + 7), objects=objects)


@given(st.lists(contents, max_size=6), st.integers(1, WHOLE))
def test_blocks_come_back_as_they_were_committed(given_: list[tuple], last: int) -> None:  # type: ignore[type-arg]
    """Whatever their counters, times, lengths and digests are, and whatever was dropped."""
    blocks = [block(number, *each) for number, each in enumerate(given_)]
    blocks.append(block(len(blocks), frames=last))
    row = BlockRow(LAYOUT, blocks)
    assert [*row] == blocks
    assert [row[place] for place in range(len(row))] == blocks
    assert (row[-1], row[1:], row[::-1]) == (blocks[-1], blocks[1:], blocks[::-1])
    assert row.frames == blocks[-1].extent.stop
    assert row.stored_bytes == sum(each.bytes for block in blocks for each in block.objects)
    assert [*row.dropped] == [each for block in blocks for each in block.dropped]
    assert pickle.loads(pickle.dumps(row)) == row == BlockRow(LAYOUT, blocks)


def test_a_row_that_goes_on_begins_with_the_one_before() -> None:
    """Neither has what was added to the other one."""
    first = BlockRow(LAYOUT, [block(0)])
    second, third = first.onward(), first.onward()
    second.append(block(1))
    third.append(block(1, (8, 15)))
    assert (len(first), len(second), len(third)) == (1, 2, 2)
    assert second.starts_with(first)
    assert third.starts_with(first)
    assert not first.starts_with(second)
    assert not second.starts_with(third)
    assert second != third


def test_a_row_is_like_any_other_one_of_the_same_blocks() -> None:
    """And not like one of a run whose objects have other names."""
    blocks = [block(0), block(1)]
    row = BlockRow(LAYOUT, blocks)
    assert row == blocks
    assert tuple(blocks) == row
    assert row != [block(0), block(1, (8, 15))]
    assert row != blocks[:1]
    assert row != "no blocks"
    geometry = Geometry(("c", "y", "x"), (1, 4, 6), np.dtype("uint16"))
    other = replace(LAYOUT, geometry=geometry)
    renamed = [
        replace(
            each,
            objects=tuple(
                replace(stored, key=key)
                for stored, key in zip(each.objects, other.object_keys(each.number), strict=True)
            ),
        )
        for each in blocks
    ]
    assert BlockRow(other, renamed) == renamed
    assert BlockRow(other, renamed) != row


def test_a_row_takes_little_room_on_its_way_to_another_process() -> None:
    row = BlockRow(LAYOUT, many(100))
    assert len(pickle.dumps(row)) / len(row) < MOST_BYTES


def test_a_row_without_blocks_is_empty() -> None:
    """There is one before it is known what the blocks have in common."""
    row = BlockRow()
    assert (len(row), row.frames, [*row], [*row.dropped]) == (0, 0, [], [])
    assert row == BlockRow(LAYOUT)
    with pytest.raises(ValueError, match="layout"):
        row.append(block(0))


@pytest.mark.parametrize(
    "wrong",
    [
        block(2),
        block(1, frames=0),
        block(1, frames=WHOLE + 1),
        replace(block(1), extent=Extent(9, 16)),
        replace(block(1), objects=block(0).objects),
        replace(block(1), objects=block(1).objects[:3]),
        block(1, (-1, 3)),
        block(1, (0, 2**64)),
        block(1, objects=[(64, "0" * 62)] * 4),
        block(1, objects=[(64, "A" * 64)] * 4),
        block(1, objects=[(64, "digest")] * 4),
        block(1, objects=[(-1, "0" * 64)] * 4),
    ],
)
def test_what_cannot_be_the_next_block_is_refused(wrong: Block) -> None:
    """The row stays as it was."""
    row = BlockRow(LAYOUT, [block(0)])
    with pytest.raises(ValueError, match=r"block \d|BLAKE3 digest"):
        row.append(wrong)
    assert [*row] == [block(0)]


def test_a_block_takes_little_memory() -> None:
    """Of a run of weeks, which has millions, all are known to whoever follows it."""
    number = 2000
    row = BlockRow(LAYOUT)
    tracemalloc.start()
    try:
        for each in many(number):
            row.append(each)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / number < MOST_BYTES
