"""Reading a run whose copies are damaged, missing, or on their way."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from tests.tiering.site import GRACE, Site
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from forebay.acquisition.errors import RunDamagedError
from forebay.acquisition.run import blocks
from forebay.errors import ExitCode
from forebay.opening import open_run
from forebay.tiering.errors import ObjectKeyError, PlaceUnavailableError
from forebay.tiering.keys import check_key
from forebay.tiering.reading import checking
from forebay.tiering.reading.signpost import SIGNPOST, Signpost
from forebay.tiering.reading.tiered_store import TieredStore

SHARD = "frames/c.1.0.0"


def flip(path: Path, at: int) -> bytes:
    """Flip a byte of a file, and return what it was before."""
    content = path.read_bytes()
    changed = bytearray(content)
    changed[at] ^= 0x10
    path.write_bytes(changed)
    return content


@pytest.mark.parametrize("key", [SHARD, "timestamp/c.0", "zarr.json"])
@pytest.mark.parametrize("where", ["hot", "warm"])
def test_what_is_damaged_is_read_from_another_copy_and_put_right(
    site: Site, where: str, key: str
) -> None:
    """Whichever copy it is, and whichever object."""
    site.move("warm", keep=True)
    site.move("cold", keep=True)
    path = site.copy_in(where) / key
    right = flip(path, 3)
    if where == "warm":
        # Home is read from first.
        (site.runs / "water" / key).unlink()
    site.check_readable()
    if where == "hot" or key != "zarr.json":
        assert path.read_bytes() == right


def test_a_single_frame_is_checked_too(site: Site) -> None:
    """By its own checksum; then the whole object is looked at, and put right."""
    site.move("cold", keep=True)
    path = site.runs / "water" / SHARD
    run = open_run(site.runs / "water")
    right = flip(path, 2)
    assert run.frames[2].to_numpy()[0, 0] == 2
    assert path.read_bytes() == right


def test_damage_everywhere_is_an_error_and_never_a_wrong_frame(site: Site) -> None:
    """It says which places were tried."""
    site.move("cold")
    flip(site.copy_in("cold") / SHARD, 2)
    run = open_run(site.runs / "water")
    with pytest.raises(RunDamagedError, match=r"frames/c\.1\.0\.0 has changed in .*cold") as told:
        run.frames.to_numpy()
    assert told.value.exit_code is ExitCode.DAMAGE
    assert "\n" not in str(told.value)
    np.testing.assert_array_equal(run.frames[4].to_numpy()[0, 0], 4)


def test_what_is_lost_everywhere_is_an_error_and_never_a_fill_value(site: Site) -> None:
    """The signpost says that it was there."""
    site.move("cold")
    (site.copy_in("cold") / SHARD).unlink()
    with pytest.raises(RunDamagedError, match=r"frames/c\.1\.0\.0 of .*water is missing there"):
        open_run(site.runs / "water").frames.to_numpy()


def test_a_range_that_is_no_frame_is_given_as_it_is(site: Site) -> None:
    """Its last bytes are no checksum, so the whole object is compared, and is right."""
    site.move("cold")
    store = TieredStore(LocalStore(site.runs / "water", read_only=True), read_only=True)
    content = (site.copy_in("cold") / SHARD).read_bytes()
    prototype = default_buffer_prototype()
    for wanted, expected in (
        (RangeByteRequest(3, 17), content[3:17]),
        (RangeByteRequest(0, 2), content[:2]),
        (OffsetByteRequest(20), content[20:]),
        (SuffixByteRequest(9), content[-9:]),
    ):
        found = asyncio.run(store.get(SHARD, prototype, wanted))
        assert found is not None
        assert found.to_bytes() == expected


def test_a_run_is_listed_and_opened_without_asking_where_its_frames_lie(site: Site) -> None:
    """Its documents are in the signpost, and its log stays at home."""
    site.move("cold")
    cold = site.folder / "cold"
    cold.rename(site.folder / "unplugged")
    run = open_run(site.runs / "water")
    assert (run.history.frames, run.closed) == (5, True)
    with pytest.raises((PlaceUnavailableError, RunDamagedError)):
        run.frames.to_numpy()
    (site.folder / "unplugged").rename(cold)
    site.check_readable()


def test_readers_notice_nothing_while_a_run_goes_to_and_fro(site: Site) -> None:
    """Frames are read without a pause, by several, from stores that were opened at any time."""
    wrong: list[object] = []
    reads = 0
    over = threading.Event()

    def read() -> None:
        nonlocal reads
        run = open_run(site.runs / "water")
        while not over.is_set():
            try:
                for frame in range(5):
                    value = run.frames[frame].to_numpy()[0, 0]
                    if value != frame:
                        wrong.append((frame, value))
                reads += 1
            except Exception as error:  # noqa: BLE001 (whatever it is, it is what is looked for)
                wrong.append(error)
                return

    site.take_in()
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for tier in ("cold", "warm", "hot", "cold", "hot"):
            site.plan(tier)
            site.work()
            site.pass_by(GRACE + 1)
            site.work()
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert wrong == []
    assert reads > 2


@pytest.mark.parametrize(
    "key",
    [
        "../secret",
        "/etc/hostname",
        "frames/../../secret",
        "frames//c.0",
        "",
        ".",
        "a/./b",
        "a\0b",
        "a\nb",
        "a\\b",
        "a" * 1025,
        "/",
    ],
)
def test_no_key_leads_out_of_a_run(site: Site, key: str) -> None:
    """It is refused before any file or bucket is asked."""
    (site.runs / "secret").write_text("not yours")
    store = TieredStore(LocalStore(site.runs / "water", read_only=True), read_only=True)
    with pytest.raises(ObjectKeyError, match="is not a key"):
        asyncio.run(store.get(key, default_buffer_prototype()))
    with pytest.raises(ObjectKeyError):
        asyncio.run(store.exists(key))


@given(st.text(max_size=20))
def test_a_key_that_is_taken_stays_below_its_root(key: str) -> None:
    """Whatever characters it has."""
    try:
        check_key(key)
    except ObjectKeyError:
        return
    root = Path("/runs/water")
    assert root in (root / key).resolve().parents


def test_a_run_that_was_moved_is_not_written(site: Site) -> None:
    """What was committed stays as it is."""
    site.move("cold")
    store = TieredStore(LocalStore(site.runs / "water"))
    buffer = default_buffer_prototype().buffer.from_bytes(b"x")
    with pytest.raises(ValueError, match="is a run that was moved"):
        asyncio.run(store.set("frames/c.9.0.0", buffer))
    with pytest.raises(ValueError, match="is a run that was moved"):
        asyncio.run(store.delete(SHARD))


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"format": 1}', b"\xff", b'{"format": 9}']
)
def test_a_signpost_that_cannot_be_read_is_told_in_one_line(site: Site, content: bytes) -> None:
    """And nothing is taken for missing because of it."""
    site.move("cold")
    (site.runs / "water" / SIGNPOST).write_bytes(content)
    with pytest.raises(RunDamagedError) as told:
        open_run(site.runs / "water")
    assert "\n" not in str(told.value)
    assert f"water/{SIGNPOST}" in str(told.value)


def test_a_signpost_is_read_back_as_it_was_written(site: Site) -> None:
    """With all that it says."""
    site.move("cold")
    content = (site.runs / "water" / SIGNPOST).read_bytes()
    read = Signpost.from_json(content, where="here")
    assert [place.tier for place in read.places] == ["cold"]
    assert read.objects == site.catalogue.objects(read.run_id)
    assert read.documents == site.catalogue.documents(read.run_id)
    assert Signpost.from_json(read.to_json(), where="here") == read


def test_a_block_is_compared_once_on_its_way_to_the_reader(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the store where it knows the digest, by the reader where the store does not."""
    made: list[int] = []

    def counted(content: memoryview) -> Any:
        made.append(len(content))
        return blake3(content)

    for module in (blocks, checking):
        monkeypatch.setattr(module, "blake3", counted)
    first = open_run(site.runs / "water").blocks[0]
    lengths = sorted(each.bytes for each in first.objects)
    for tier in (None, "cold"):
        if tier is not None:
            site.move(tier)
        run = open_run(site.runs / "water")
        made.clear()
        run.read((first,), first.extent)
        assert sorted(made) == lengths


def test_what_only_the_signpost_takes_for_right_is_refused(site: Site) -> None:
    """The log of the run says what was committed, whatever else was changed."""
    site.move("cold")
    shard = site.copy_in("cold") / "frames" / "c.0.0.0"
    changed = bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:]
    post = site.runs / "water" / SIGNPOST
    known = blake3(shard.read_bytes()).hexdigest()
    post.write_text(post.read_text().replace(known, blake3(changed).hexdigest()))
    shard.write_bytes(changed)
    run = open_run(site.runs / "water")
    with pytest.raises(RunDamagedError, match="has changed since it was committed"):
        run.frames[:2].to_numpy()
