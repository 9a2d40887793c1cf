"""Results in an archive class of S3: recalled, read and moved as runs are."""

from pathlib import Path

import pandas as pd
import pytest
from pydantic import ByteSize
from tests.acquisition.storage.server import BUCKET
from tests.tiering.site import Site
from tests.tiering.test_archive import restores_take
from tests.tiering.test_results import Published
from typer.testing import CliRunner

from forebay.cli.app import app
from forebay.engine import open_result
from forebay.tiering.archive.archive import Reach
from forebay.tiering.archive.copies import archived_copy, recall_of
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import ArchivedError
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.inventory import MANIFEST

pytestmark = pytest.mark.s3


@pytest.fixture
def lab(site: Site, bucket: str, server: int) -> Published:
    """A laboratory whose cold tier is an archive with packs."""
    site.specifications["cold"] = TierSpecification(
        url=f"s3://{BUCKET}/{site.folder.name}",
        storage_class="GLACIER",
        pack_bytes=ByteSize(4000),
        recall_cost_per_1000=50.0,
    )
    site.database.close()
    site.open()
    restores_take(server, looks=0)
    return Published(site)


def test_a_result_is_put_away_told_of_recalled_and_read(
    lab: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it costs is shown first; the run beside it is read as before."""
    result = lab.process()
    rows = result.table()
    lab.move("cold")
    assert lab.there(result) == set()
    name = f"water/{result.path.name}"
    with pytest.raises(ArchivedError) as told:
        open_result(result.path).table()
    assert f"'forebay tier recall {name}' does that for all of it, which costs" in str(told.value)
    lab.site.check_readable()
    (tmp_path / "forebay.toml").write_text(
        f'runs = "{lab.site.runs}"\nengine.ledger = "{lab.ledger}"\n'
        f'[tiers.hot]\nurl = "{lab.site.runs}"\n[tiers.warm]\nurl = "{lab.site.folder}/warm"\n'
        f'[tiers.cold]\nurl = "{lab.site.specifications["cold"].url}"\n'
        'storage_class = "GLACIER"\nrecall_cost_per_1000 = 50\n'
    )
    monkeypatch.chdir(tmp_path)
    asked = CliRunner().invoke(app, ["tier", "recall", name])
    assert asked.exit_code == 2
    assert "are recalled from 'cold', which costs about" in asked.stderr
    with pytest.raises(ArchivedError):
        open_result(result.path).table()
    done = CliRunner().invoke(app, ["tier", "recall", name, "--wait", "--yes"])
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(open_result(result.path).table(), rows)


def test_a_result_moves_out_of_an_archive_by_way_of_its_recall(lab: Published, server: int) -> None:
    """In packs, which are the objects that are recalled; nothing is left there."""
    result = lab.process()
    rows, before = result.table(), lab.there(result)
    volume = lab.volume()
    lab.move("cold")
    shelf = archived_copy(lab.site.catalogue, lab.site.tiers, volume, tier="cold")
    objects = lab.site.catalogue.objects(volume.run_id)
    recall = recall_of(lab.site.catalogue, lab.site.tiers, shelf, objects)
    assert recall is not None
    assert any(name.startswith("packs/") for name in recall.objects)
    assert len(recall.objects) < len(objects)
    assert set(recall.look().away) == set(recall.objects)
    assert recall.archive.standing(MANIFEST).reach is Reach.NEAR
    assert scrub(lab.site.catalogue, lab.site.tiers, [volume]).put_away
    restores_take(server, looks=2)
    planned = lab.site.moves.plan(volume, tier="hot", keep=False, why="a test")
    lab.site.work()
    waiting = lab.site.moves.get(planned.move)
    assert (waiting.state, waiting.attempts) == (MoveState.COPYING, 0)
    assert "are recalled and can be read in about 5 hours" in (waiting.error or "")
    lab.site.settle()
    assert lab.site.moves.get(planned.move).state is MoveState.DONE
    assert lab.there(result) == before
    pd.testing.assert_frame_equal(open_result(result.path).table(), rows)
    assert lab.process().computed == 0
    assert lab.site.tiers["cold"].shelf("").stored() == {}
