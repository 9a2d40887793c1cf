"""The manifests of copies, from which a catalogue that was lost is built anew."""

import contextlib
import json

import pytest
from tests.tiering.site import Site

from forebay.tiering.errors import CopyDamagedError
from forebay.tiering.moving.manifest import read_manifest
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.storage.inventory import MANIFEST


@pytest.mark.parametrize("tier", ["cold", "packed"])
@pytest.mark.parametrize("flipped", [True, False])
def test_scrubbing_puts_the_manifest_of_a_copy_right(site: Site, tier: str, flipped: bool) -> None:
    """Nobody reads it before the catalogue is lost, and then all depends on it."""
    site.move(tier)
    manifest = site.copy_in(tier) / MANIFEST
    right = manifest.read_bytes()
    if flipped:
        manifest.write_bytes(right[:40] + bytes([right[40] ^ 1]) + right[41:])
    else:
        manifest.unlink()
    assert scrub(site.catalogue, site.tiers, site.catalogue.runs()).put_right == [str(manifest)]
    assert manifest.read_bytes() == right
    assert scrub(site.catalogue, site.tiers, site.catalogue.runs()).put_right == []


def test_a_catalogue_is_not_built_from_a_manifest_that_has_changed(site: Site) -> None:
    """Wherever a bit of it has flipped: it would tell readers what was never committed."""
    site.move("cold")
    manifest = site.copy_in("cold") / MANIFEST
    right = manifest.read_bytes()
    known = read_manifest(right, where="cold")
    for place in range(0, len(right), 7):
        content = bytearray(right)
        content[place] ^= 1
        with contextlib.suppress(CopyDamagedError):
            assert read_manifest(bytes(content), where="cold") == known
    manifest.write_bytes(right.replace(b"uint16", b"uint17"))
    site.forget_everything()
    found = scan(site.catalogue, site.tiers, repair=True)
    assert any("has a manifest that is not what was put there" in each for each in found.not_whole)
    assert site.catalogue.runs() == []
    manifest.write_bytes(right)
    scan(site.catalogue, site.tiers, repair=True)
    site.check_readable()


def test_a_manifest_of_an_older_forebay_is_read(site: Site) -> None:
    """It has no digest of its own, and is left as it is."""
    site.move("cold")
    manifest = site.copy_in("cold") / MANIFEST
    said = json.loads(manifest.read_bytes())
    del said["blake3"]
    manifest.write_text(json.dumps(said))
    assert scrub(site.catalogue, site.tiers, site.catalogue.runs()).put_right == []
    site.forget_everything()
    scan(site.catalogue, site.tiers, repair=True)
    site.check_readable()
