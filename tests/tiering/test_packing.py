"""Small objects lie together in packs, which any program that reads ZIP files opens."""

import asyncio
import zipfile
from pathlib import Path

import pytest
from pydantic import ByteSize
from tests.tiering.site import GRACE, Killed, Site, is_there, on_each_database
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.packing.pack import pack_up
from forebay.tiering.reading.packed_store import PackedStore
from forebay.tiering.reading.signpost import KnownObject
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.inventory import MANIFEST


def packs_of(site: Site) -> list[Path]:
    return sorted(site.copy_in("packed").glob("packs/*.zip"))


@on_each_database
def test_a_run_is_packed_read_and_unpacked(site: Site) -> None:
    """Each object is the same by range, in the packs, and when it has come back."""
    objects = site.catalogue.objects(site.take_in().run_id)
    assert site.move("packed").state is MoveState.DONE
    assert site.lies_in() == {"packed"}
    packs = packs_of(site)
    limit = site.specifications["packed"].pack_bytes or 0
    plain = {key for key, each in objects.items() if each.bytes >= limit}
    there = {each.partition("/")[2].split("/", 2)[2] for each in site.files("packed")}
    assert there == plain | {MANIFEST} | {f"packs/{each.name}" for each in packs}
    assert len(packs) > 1
    site.check_readable()
    found: dict[str, bytes] = {}
    for path in packs:
        assert path == packs[-1] or path.stat().st_size < 3 * limit
        with zipfile.ZipFile(path) as pack:
            assert pack.testzip() is None
            found |= {key: pack.read(key) for key in pack.namelist()}
            comments = {each.filename: each.comment.decode() for each in pack.infolist()}
        assert all(
            comments[key] == f"blake3:{objects[key].blake3}" for key in comments if key in objects
        )
    assert set(found) == set(objects) - plain | {MANIFEST}
    assert all(is_there(found[key], objects[key]) for key in found if key in objects)
    site.move("hot")
    assert site.lies_in() == {"hot"}
    assert site.files("packed") == set()
    site.check_readable()


@on_each_database
def test_the_catalogue_is_built_anew_from_packs_alone(site: Site) -> None:
    """Without the manifest beside them; and nothing relies on them until they were read."""
    site.move("packed")
    objects = site.catalogue.objects(site.take_in().run_id)
    (site.copy_in("packed") / MANIFEST).unlink()
    site.forget_everything()
    assert scan(site.catalogue, site.tiers, repair=True).not_whole == []
    assert scan(site.catalogue, site.tiers, repair=False).agrees
    assert site.catalogue.objects(site.take_in().run_id) == objects
    assert site.lies_in() == {"packed"}
    assert {each.verified_at for each in site.catalogue.shelves() if not each.home} == {None}
    assert (site.copy_in("packed") / MANIFEST).exists()
    site.check_readable()
    site.move("warm")
    assert site.lies_in() >= {"warm"}


def test_a_damaged_pack_is_put_right_as_it_was(site: Site) -> None:
    """Wherever in it the damage is; without another copy it is told with its frames."""
    site.move("packed", keep=True)
    pack = packs_of(site)[-1]
    right = pack.read_bytes()
    for place in (0, len(right) // 2, len(right) - 30):
        pack.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
        found = scrub(site.catalogue, site.tiers, site.catalogue.runs())
        assert found.put_right
        assert found.lost == []
        assert pack.read_bytes() == right
    assert site.move("packed").state is MoveState.DONE
    pack.unlink()
    assert scan(site.catalogue, site.tiers, repair=False).not_whole
    lost = scrub(site.catalogue, site.tiers, site.catalogue.runs()).lost
    assert {each.rpartition("/")[2].split(" ")[0] for each in lost} >= {"zarr.json"}


@on_each_database
def test_a_pack_that_was_lost_is_put_back_before_the_other_copy_goes(site: Site) -> None:
    """As any object is."""
    site.plan("packed")
    site.work()
    packs_of(site)[0].unlink()
    site.pass_by(GRACE + 1)
    site.work()
    assert site.lies_in() == {"packed"}
    site.check_readable()


@on_each_database
def test_a_copy_goes_on_behind_the_packs_that_were_noted(site: Site) -> None:
    """With the packs that it began with, whatever is configured by then."""

    def kill(point: str) -> None:
        if point == "pack noted":
            raise Killed

    site.plan("packed")
    with pytest.raises(Killed):
        site.mover(kill).work()
    (shelf,) = [each for each in site.catalogue.shelves() if each.tier == "packed"]
    before = [(pack.name, pack.starts) for pack in site.catalogue.packs(shelf.shelf)]
    site.specifications["packed"] = TierSpecification(
        url=site.folder / "packed", pack_bytes=ByteSize(10**6)
    )
    site.database.close()
    site.open()
    site.pass_by(60)
    again: list[str] = []
    site.mover(again.append).work()
    assert again.count("pack noted") == len(before) - 1
    after = site.catalogue.packs(shelf.shelf)
    assert [(pack.name, pack.starts) for pack in after] == before
    place = shelf_of_copy(site.catalogue, site.tiers, shelf)
    assert all(
        is_there(place.read(key), known)
        for key, known in site.catalogue.objects(shelf.run_id).items()
    )


def test_any_range_of_a_packed_object_is_that_of_the_object() -> None:
    """As from a store in which it lies by itself, also beyond its end."""
    content = bytes(range(20))
    inner, beside = MemoryStore(), MemoryStore()
    prototype = default_buffer_prototype()
    known = {"a": KnownObject(20, ""), "b": KnownObject(3, "")}
    packed = PackedStore(inner, {"packs/0.zip": {"a": 7, "b": 40}}, known)

    async def compare() -> None:
        pack = b"<head>." + content + b"<more head>.." + b"xyz<index>"
        await inner.set("packs/0.zip", prototype.buffer.from_bytes(pack))
        await beside.set("a", prototype.buffer.from_bytes(content))
        wanted: list[ByteRequest | None] = [None]
        wanted += [RangeByteRequest(first, last) for first in (0, 3, 19) for last in (4, 20, 90)]
        wanted += [SuffixByteRequest(4), SuffixByteRequest(90), OffsetByteRequest(18)]
        for each in wanted:
            found, right = [await store.get("a", prototype, each) for store in (packed, beside)]
            assert found is not None
            assert right is not None
            assert found.to_bytes() == right.to_bytes(), each
        assert await packed.get("c", prototype) is None

    asyncio.run(compare())


def test_objects_are_packed_in_order_and_large_ones_left_alone() -> None:
    objects = {f"{number:03}": KnownObject(number, "") for number in range(200)}
    packs = pack_up(objects, 150)
    packed = [key for pack in packs for key in pack.starts]
    assert packed == [key for key in objects if int(key) < 150]
    for pack in packs:
        ends = [start + objects[key].bytes for key, start in pack.starts.items()]
        assert all(
            end + 33 == start
            for end, start in zip(ends, list(pack.starts.values())[1:], strict=False)
        )
        assert len(ends) == 1 or ends[-1] <= 150
