"""A run in a bucket: how writers keep out of each other's way, and what readers are told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from obstore.store import LocalStore, MemoryStore
from tests.acquisition.storage.frames import (
    GEOMETRY,
    append,
    check_whole,
    counters_of,
    create,
    frame,
    read,
    stock_frames,
    store_of,
    take_over,
)
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore, WrapperStore

from forebay.acquisition import RunWriter, follow, open_run
from forebay.acquisition.errors import (
    RunDamagedError,
    RunExistsError,
    RunNotFoundError,
    RunTakenOverError,
    StorageError,
)
from forebay.acquisition.format.history import replay
from forebay.acquisition.format.logs import row_object_key
from forebay.acquisition.format.objects import Objects
from forebay.acquisition.format.record import Opened, decode_line, encode_line
from forebay.acquisition.run import follow as following
from forebay.acquisition.run.writing import bucket as taking_over
from forebay.acquisition.run.writing.folder import documents
from forebay.acquisition.storage.conditional import ConditionalPuts, Stamped


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


def keys_of(bucket: MemoryStore, prefix: str = "") -> list[str]:
    return sorted(each["path"] for page in obstore.list(bucket, prefix) for each in page)


def test_a_run_is_read_back_by_us_and_by_others(bucket: MemoryStore) -> None:
    with create(bucket) as writer:
        append(writer, range(5))
        assert writer.path is None
    assert check_whole(bucket) == [0, 1, 2, 3, 4]


def test_the_log_is_a_row_of_objects_without_a_gap(bucket: MemoryStore) -> None:
    """The first one opens it, and each of the others is a commit."""
    with create(bucket) as writer:
        append(writer, range(4))
        writer.note("event", "the shutter was opened")
    assert keys_of(bucket, "_forebay") == [
        f"_forebay/log/00000001/{number:012d}.log" for number in range(6)
    ]


def test_each_object_tells_who_wrote_it(bucket: MemoryStore) -> None:
    with create(bucket) as writer:
        append(writer, range(2))
    block = read(bucket).blocks[0]
    for stored in block.objects:
        attributes = obstore.get(bucket, stored.key).attributes
        assert attributes["forebay-epoch"] == "1"
        assert attributes["forebay-blake3"] == stored.blake3
        assert len(attributes["forebay-write-id"]) == 36


def test_what_is_committed_is_read_at_once_and_shown_soon(bucket: MemoryStore) -> None:
    """Readers that know the log need not wait for the documents."""
    writer = create(bucket)
    append(writer, range(3))
    assert counters_of(read(bucket)) == [0, 1]
    assert len(stock_frames(bucket)) in {0, 2}
    writer.close()
    assert len(stock_frames(bucket)) == 3


def test_a_run_is_not_made_where_something_is(bucket: MemoryStore) -> None:
    create(bucket).abandon()
    with pytest.raises(RunExistsError, match="exists already"):
        create(bucket)
    other = MemoryStore()
    obstore.put(other, "notes.txt", b"mine")
    with pytest.raises(RunExistsError, match="exists already"):
        create(other)


def test_a_dead_writer_is_followed_by_another(bucket: MemoryStore) -> None:
    first = create(bucket)
    append(first, range(3))
    first.abandon()
    with take_over(bucket) as second:
        assert second.committed == 2
        append(second, range(4, 7))
    assert check_whole(bucket) == [0, 1, 4, 5, 6]
    assert [(each.first, each.last) for each in read(bucket).dropped] == [(2, 3)]
    # The seal of the first row, behind its opening, its start and its block.
    assert obstore.head(bucket, "_forebay/log/00000001/000000000003.log")["size"] == 0


def test_a_takeover_shuts_out_a_writer_that_lives(bucket: MemoryStore) -> None:
    """What it commits then is not committed, and it is told."""
    former = create(bucket)
    append(former, range(2))
    later = take_over(bucket)
    with pytest.raises(RunTakenOverError, match="lost"):
        append(former, range(2, 4))
    with pytest.raises(StorageError, match="has ended"):
        append(former, range(4, 5))
    former.close()
    later.close()
    assert check_whole(bucket) == [0, 1]


def test_a_writer_that_was_taken_over_shows_nothing_older(bucket: MemoryStore) -> None:
    former = create(bucket)
    append(former, range(2))
    with take_over(bucket) as later:
        append(later, range(2, 6))
    with pytest.raises(RunTakenOverError):
        former._run.storage.show({"zarr.json": b"{}"})
    assert check_whole(bucket) == [0, 1, 2, 3, 4, 5]


def test_what_an_earlier_writer_left_is_kept_aside_and_replaced(bucket: MemoryStore) -> None:
    """Also where it wrote it after it had been taken over, and did not know yet."""
    former = create(bucket)
    append(former, range(2))
    later = take_over(bucket)
    with pytest.raises(RunTakenOverError):
        append(former, range(2, 4))
    left = obstore.get(bucket, "frames/c.1.0.0").bytes().to_bytes()
    append(later, range(5, 7))
    later.close()
    assert check_whole(bucket) == [0, 1, 5, 6]
    aside = keys_of(bucket, "_forebay/quarantine")
    assert {key.rpartition("/")[0] for key in aside} == {"_forebay/quarantine/00000001"}
    frames = [key for key in aside if "/frames.c.1.0.0." in key]
    assert [obstore.get(bucket, key).bytes().to_bytes() for key in frames] == [left]


def test_a_writer_that_was_taken_over_replaces_nothing(bucket: MemoryStore) -> None:
    """The objects of its next block are there already, by the one that came after it."""
    former = create(bucket)
    append(former, range(2))
    with take_over(bucket) as later:
        append(later, range(5, 7))
    with pytest.raises(RunTakenOverError):
        append(former, range(2, 4))
    assert check_whole(bucket) == [0, 1, 5, 6]
    assert not keys_of(bucket, "_forebay/quarantine")


def test_a_takeover_that_died_between_its_steps_is_done_again(bucket: MemoryStore) -> None:
    """The log is sealed, and there is no next one yet: readers see what was committed."""
    former = create(bucket)
    append(former, range(2))
    obstore.put(bucket, "_forebay/log/00000001/000000000003.log", b"", mode="create")
    assert counters_of(read(bucket)) == [0, 1]
    with pytest.raises(RunTakenOverError):
        append(former, range(2, 4))
    with take_over(bucket) as later:
        append(later, range(4, 6))
    assert check_whole(bucket) == [0, 1, 4, 5]


def test_a_closed_run_has_no_further_writer(bucket: MemoryStore) -> None:
    with create(bucket) as writer:
        append(writer, range(3))
    with pytest.raises(RunExistsError, match="is closed and whole"):
        take_over(bucket)


def test_where_no_run_is_nothing_is_taken_over(bucket: MemoryStore) -> None:
    with pytest.raises(RunNotFoundError, match="is not a run: it has no _forebay/log"):
        take_over(bucket)


def test_a_store_without_metadata_or_conditions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no conditional puts with metadata; give a path"):
        RunWriter.create_in(ObjectStore(LocalStore(tmp_path)), "sample", GEOMETRY)


def test_a_store_that_is_for_reading_is_not_written(bucket: MemoryStore) -> None:
    store = store_of(bucket).with_read_only(True)
    with pytest.raises(StorageError, match="opened for reading only"):
        RunWriter.create_in(store, "sample", GEOMETRY)
    with pytest.raises(StorageError, match="opened for reading only"):
        RunWriter.take_over(store)


class CountingStore(WrapperStore[ObjectStore[MemoryStore]]):
    """A store that writes down what is read and listed."""

    def __init__(self, store: ObjectStore[MemoryStore]) -> None:
        super().__init__(store)
        self.asked: list[str] = []

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        self.asked.append(key)
        return await super().get(key, prototype, byte_range)


def test_a_reader_that_follows_reads_only_what_is_new(bucket: MemoryStore) -> None:
    """One request tells that nothing has come; none repeats an earlier one."""
    writer = create(bucket)
    append(writer, range(4))
    store = CountingStore(ObjectStore(bucket))
    run = open_run(store)
    store.asked.clear()
    run = run.refresh()
    assert store.asked == ["_forebay/log/00000001/000000000004.log"]
    append(writer, range(4, 8))
    store.asked.clear()
    run = run.refresh()
    assert counters_of(run) == [*range(8)]
    assert [key for key in store.asked if key.startswith("_forebay")] == [
        f"_forebay/log/00000001/{number:012d}.log" for number in (4, 5, 6)
    ]
    writer.close()


def test_a_reader_follows_from_one_writer_to_the_next(bucket: MemoryStore) -> None:
    writer = create(bucket)
    append(writer, range(2))
    run = read(bucket)
    for first in (2, 6):
        writer.abandon()
        writer = take_over(bucket)
        assert counters_of(run.refresh()) == [*range(first)]
        append(writer, range(first, first + 4))
    writer.close()
    followed = run.refresh()
    assert followed.closed
    assert followed.history == read(bucket).history


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_missing_object_of_the_log_is_damage(bucket: MemoryStore, number: int) -> None:
    """Whichever it is; it is never taken for the end of the log."""
    with create(bucket) as writer:
        append(writer, range(5))
    obstore.delete(bucket, f"_forebay/log/00000001/{number:012d}.log")
    with pytest.raises(RunDamagedError, match="is missing"):
        read(bucket)


def test_the_last_object_of_the_log_that_is_missing_is_damage(bucket: MemoryStore) -> None:
    """More is shown than the log tells of."""
    with create(bucket) as writer:
        append(writer, range(5))
    obstore.delete(bucket, "_forebay/log/00000001/000000000004.log")
    with pytest.raises(RunDamagedError, match="its end has changed or is missing"):
        read(bucket)


def test_a_log_that_is_cut_in_an_object_is_damage(bucket: MemoryStore) -> None:
    """No writer dies within an object, so there is no torn end to forgive."""
    create(bucket).abandon()
    key = "_forebay/log/00000001/000000000000.log"
    content = obstore.get(bucket, key).bytes().to_bytes()
    obstore.put(bucket, key, content + b"1234abcd {")
    with pytest.raises(RunDamagedError, match="ends in 10 bytes that are no record"):
        read(bucket)


def test_a_run_that_is_copied_to_a_folder_is_read_there_and_not_written(
    bucket: MemoryStore, tmp_path: Path
) -> None:
    writer = create(bucket)
    append(writer, range(4))
    writer._run.storage.show({})
    for key in keys_of(bucket):
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(obstore.get(bucket, key).bytes().to_bytes())
    assert counters_of(open_run(tmp_path)) == [0, 1, 2, 3]
    with pytest.raises(StorageError, match="copy the run to a bucket"):
        RunWriter.resume(tmp_path)


def test_a_run_that_is_copied_from_a_folder_is_read_there_and_not_written(
    bucket: MemoryStore, tmp_path: Path
) -> None:
    writer = RunWriter.create(tmp_path / "run", GEOMETRY, frames_per_block=2)
    writer.append(frame(0))
    writer.append(frame(1))
    writer.abandon()
    for path in (tmp_path / "run").rglob("*"):
        if path.is_file():
            obstore.put(bucket, str(path.relative_to(tmp_path / "run")), path.read_bytes())
    assert counters_of(read(bucket)) == [0, 1]
    with pytest.raises(StorageError, match="copy the run to a folder"):
        take_over(bucket)


def test_a_log_that_ends_otherwise_than_it_was_read_is_an_error(bucket: MemoryStore) -> None:
    """Who follows a run is told that the storage has not kept what he has seen."""
    first = create(bucket)
    append(first, range(2))
    objects = Objects(store_of(bucket))
    seen = replay(objects)
    take_over(bucket).abandon()
    key = row_object_key(2, 0)
    opened = decode_line(objects.read(key) or b"", previous=None, where=key)
    assert isinstance(opened, Opened)
    shorter = replace(opened, sealed_bytes=opened.sealed_bytes - 1)
    obstore.put(bucket, key, encode_line(shorter, previous=seen.last_digest))
    with pytest.raises(RunDamagedError, match="seals another log than the one that was read"):
        replay(objects, since=seen)
    obstore.put(bucket, key, encode_line(opened, previous=seen.last_digest))
    assert replay(objects, since=seen).epoch == 2


@pytest.mark.parametrize("lost", ["the last one", "one in between"])
def test_a_follower_of_a_log_that_lost_an_object_does_not_wait_for_ever(
    bucket: MemoryStore, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes any more to the place that it looks at, since the log goes on elsewhere."""
    monkeypatch.setattr(following, "_RECHECK_SECONDS", 0.001)
    first = create(bucket)
    append(first, range(2))
    run = read(bucket)
    last = row_object_key(1, (run.history.log_objects or 0) - 1)
    if lost == "the last one":
        # Were more shown than the log tells of, whoever takes over would be told.
        first._run.storage.show(documents(run.layout, 0))
        obstore.delete(bucket, last)
        append(take_over(bucket), range(2, 4))
    else:
        append(first, range(2, 6))
        obstore.delete(bucket, row_object_key(1, run.history.log_objects or 0))
    looks = follow(run)
    assert next(looks) is run
    with pytest.raises(RunDamagedError, match="is missing, and others have come behind it"):
        next(looks)


def test_an_answer_that_is_lost_takes_the_run_from_nobody(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each object is put once, and its own writer knows it again by what is written on it."""
    put = ConditionalPuts._put
    lost: set[str] = set()

    def losing(self: ConditionalPuts, key: str, *rest: Any) -> Stamped:
        made = put(self, key, *rest)
        if key not in lost:
            lost.add(key)
            raise GenericError("the answer was lost")
        return made

    monkeypatch.setattr(ConditionalPuts, "_put", losing)
    with create(bucket) as writer:
        append(writer, range(5))
    assert "_forebay/log/00000001/000000000001.log" in lost
    assert check_whole(bucket) == [0, 1, 2, 3, 4]
    assert not keys_of(bucket, "_forebay/quarantine")


def test_what_is_committed_while_the_end_of_the_log_is_sought_is_kept(
    bucket: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is taken then: whoever takes the run over reads on, and seals behind it."""
    former = create(bucket)
    append(former, range(2))
    seal = taking_over._seal
    coming = [range(2, 4), range(4, 6)]

    def sealed(*args: Any, **options: Any) -> bool:
        if coming:
            append(former, coming.pop(0))
        return seal(*args, **options)

    monkeypatch.setattr(taking_over, "_seal", sealed)
    with take_over(bucket) as later:
        assert later.committed == 6
        append(later, range(6, 7))
    assert check_whole(bucket) == [0, 1, 2, 3, 4, 5, 6]
