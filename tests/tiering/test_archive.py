"""A tier in an archive class of S3: what lies there is recalled before it is read."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from blake3 import blake3
from pydantic import ByteSize, ValidationError
from tests.acquisition.storage.server import BUCKET
from tests.tiering.site import GRACE, Killed, Site
from typer.testing import CliRunner

from forebay.acquisition.format.record import Extent
from forebay.cli.app import app
from forebay.engine.execution.work import failure_of
from forebay.engine.queue.retry import FailureClass
from forebay.opening import open_run
from forebay.tiering.archive.archive import Archive, Reach
from forebay.tiering.archive.copies import archived_copy, keys_of, recall_of
from forebay.tiering.archive.recall import Recall
from forebay.tiering.catalogue.records import MoveState
from forebay.tiering.errors import ArchivedError, MoveRefusedError, RecallTimeoutError
from forebay.tiering.packing.copies import shelf_of_copy
from forebay.tiering.scan import scan
from forebay.tiering.scrub import scrub
from forebay.tiering.specification import TierSpecification
from forebay.tiering.storage.probing import probe
from forebay.tiering.storage.tiers import Tier


@pytest.fixture
def lab(server: int, quick: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A laboratory whose cold tier is an archive; the run lies there alone."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server}",
    }.items():
        monkeypatch.setenv(name, value)
    with Site(quick) as site:
        site.specifications["cold"] = TierSpecification(
            url=f"s3://{BUCKET}/{quick.name}",
            storage_class="GLACIER",
            pack_bytes=ByteSize(130),
            recall_cost_per_gb=0.01,
            recall_cost_per_1000=50.0,
        )
        site.database.close()
        site.open()
        site.record("water", frames=3)
        site.move("cold")
        restores_take(server, looks=0)
        yield site


def restores_take(server: int, *, looks: int) -> None:
    """Have the server need so many looks at an object until it is restored."""
    transition = (
        {"progression": "manual", "times": looks} if looks else {"progression": "immediate"}
    )
    wanted = {"model_name": "s3::keyrestore", "transition": transition}
    urllib.request.urlopen(
        urllib.request.Request(
            f"http://127.0.0.1:{server}/moto-api/state-manager/set-transition",
            data=json.dumps(wanted).encode(),
            headers={"Content-Type": "application/json"},
        )
    ).close()


def recall_in(site: Site, frames: Extent | None = None) -> Recall:
    run = site.take_in()
    shelf = archived_copy(site.catalogue, site.tiers, run, tier=None)
    keys = keys_of(site.catalogue, site.tiers, run, frames)
    found = recall_of(site.catalogue, site.tiers, shelf, keys)
    assert found is not None
    return found


@pytest.mark.s3
def test_what_is_away_is_told_with_its_cost_and_comes_when_it_is_asked_for(
    lab: Site, server: int
) -> None:
    """Nothing hangs; the part that was recalled is read, and the rest still says so."""
    run = open_run(lab.runs / "water")
    with pytest.raises(ArchivedError, match=r"must be recalled: .* costs about 0\.\d\d for .* 5 h"):
        run.frames.to_numpy()
    assert failure_of(ArchivedError("")) is FailureClass.ARCHIVED
    recall = recall_in(lab, Extent(0, 2))
    assert set(recall.objects) < set(recall_in(lab).objects)
    assert any(name.startswith("packs/") for name in recall.objects)
    assert set(recall.look().away) == set(recall.objects)
    # In the server's own time: it is asked for once, and that is enough.
    restores_take(server, looks=12)
    recall.request(days=2)
    recall.request(days=2)
    with pytest.raises(RecallTimeoutError, match="cannot be read after 0 seconds"):
        recall.wait(timeout=0, pause=0)
    looks: list[int] = []
    recall.wait(timeout=30, pause=0, on_look=lambda each: looks.append(len(each.near)))
    assert looks[-1] == len(recall.objects)
    assert run.frames[:2].to_numpy().shape[0] == 2
    with pytest.raises(ArchivedError):
        run.frames[2].to_numpy()
    # When its days are over, it is away again, and is asked for again.
    later = Archive(
        recall.archive.url,
        recall.archive.terms,
        now=lambda: datetime.now(UTC) + timedelta(days=4),
    )
    name = next(iter(recall.objects))
    assert recall.archive.standing(name).reach is Reach.NEAR
    assert later.standing(name).reach is Reach.AWAY


@pytest.mark.s3
def test_a_run_moves_out_of_an_archive_by_way_of_its_recall(lab: Site, server: int) -> None:
    """The move waits for it without counting that as a failure; every byte is compared."""
    assert scrub(lab.catalogue, lab.tiers, lab.catalogue.runs()).put_away
    assert scan(lab.catalogue, lab.tiers, repair=False).agrees
    restores_take(server, looks=2)
    planned = lab.plan("warm")
    for _ in range(4):
        lab.work()
        now = lab.moves.get(planned.move)
        if now.state is not MoveState.COPYING:
            break
        assert now.attempts == 0
        assert now.error is not None
        assert "are recalled and can be read in about 5 hours" in now.error
        lab.pass_by(4000)
    lab.pass_by(GRACE + 1)
    lab.settle()
    assert lab.moves.get(planned.move).state is MoveState.DONE
    assert lab.lies_in() == {"warm"}
    lab.check_readable(frames=3)
    with pytest.raises(MoveRefusedError, match="is read from 'warm' at once"):
        archived_copy(lab.catalogue, lab.tiers, lab.take_in(), tier=None)


@pytest.mark.s3
@pytest.mark.parametrize("target", ["warm", "packed"])
def test_what_is_at_hand_is_not_recalled_for_a_move_out_of_an_archive(
    lab: Site, target: str
) -> None:
    """The log lies at home, and documents in the catalogue; a log that is damaged is recalled."""
    lab.specifications["cold"] = lab.specifications["cold"].model_copy(update={"pack_bytes": None})
    lab.database.close()
    lab.open()
    recalled = {}
    for name in ("ice", "snow"):
        (log,) = (lab.record(name, frames=3) / "_forebay" / "log").iterdir()
        lab.move("cold", name=name)
        run = lab.take_in(name)
        shelf = archived_copy(lab.catalogue, lab.tiers, run, tier=None)
        every = recall_of(lab.catalogue, lab.tiers, shelf, lab.catalogue.objects(run.run_id))
        assert every is not None
        assert every.look().near == ()
        content = log.read_bytes()
        if name == "snow":
            log.write_bytes(bytes(len(content)))
        lab.plan(target, name=name)
        # Asked for, and then read.
        lab.work()
        lab.pass_by(4000)
        lab.work()
        recalled[name] = set(every.look().near)
        log.write_bytes(content)
        lab.pass_by(GRACE + 1)
        lab.settle()
        assert lab.lies_in(name) == {target}
        lab.check_readable(name, frames=3)
    blocks = {key for key in recalled["ice"] if "/c." in key}
    assert recalled == {"ice": blocks, "snow": {*blocks, "_forebay/log/00000001.log"}}


@pytest.mark.s3
def test_the_commands_show_the_cost_first(
    lab: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ask for nothing unless that is agreed to."""
    cold = lab.specifications["cold"]
    (tmp_path / "forebay.toml").write_text(
        f'runs = "{lab.runs}"\nengine.ledger = "{lab.folder}/ledger.sqlite"\n'
        f'[tiers.hot]\nurl = "{lab.runs}"\n[tiers.warm]\nurl = "{lab.folder}/warm"\n'
        f'[tiers.cold]\nurl = "{cold.url}"\nstorage_class = "GLACIER"\n'
        "recall_cost_per_1000 = 50\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = CliRunner().invoke(app, ["tier", "recall", "water"])
    assert asked.exit_code == 2
    assert "are recalled from 'cold', which costs about" in asked.stderr
    assert "give --yes" in asked.stderr.splitlines()[-1]
    refused = CliRunner().invoke(app, ["tier", "move", "water", "--to", "warm"])
    assert refused.exit_code == 2
    assert lab.moves.find() == []
    assert recall_in(lab).look().near == ()
    done = CliRunner().invoke(app, ["tier", "recall", "water", "--wait", "--yes"])
    assert done.exit_code == 0, done.output
    assert "water can be read" in done.stdout
    lab.check_readable(frames=3)
    wrong = CliRunner().invoke(app, ["tier", "recall", "water", "--frames", "2:900", "--yes"])
    assert wrong.exit_code == 4
    assert "water has no frames 2 to 900: it has 3" in wrong.stderr


@pytest.mark.s3
def test_an_object_that_was_lost_in_an_archive_is_put_back_there(lab: Site) -> None:
    """It is read back before it is put away, and the tier can be tried out."""
    assert probe(Tier("cold", lab.specifications["cold"])).problem is None
    run = lab.take_in()
    (cold,) = [each for each in lab.catalogue.shelves(run.run_id) if each.tier == "cold"]
    recall_in(lab).request(days=2)
    lab.move("hot", keep=True)
    there = shelf_of_copy(lab.catalogue, lab.tiers, cold)
    archive = lab.tiers["cold"].archive(cold.path)
    assert archive is not None
    lost = "frames/c.0.0.0"
    there.delete([there.stored_as(lost)])
    assert len(scrub(lab.catalogue, lab.tiers, [run]).put_right) == 1
    assert archive.standing(there.stored_as(lost)).reach is Reach.AWAY
    # It is there when the move reads it back, and gone when the other copy is to go.
    lab.plan("cold")
    lab.work()
    there.delete([there.stored_as(lost)])
    lab.pass_by(GRACE + 1)
    lab.work()
    assert lab.moves.find() == []
    known = lab.catalogue.objects(run.run_id)[lost]
    assert there.sizes()[lost] == known.bytes
    assert archive.standing(there.stored_as(lost)).reach is Reach.AWAY
    archive.recall(there.stored_as(lost), days=1)
    content = there.read(lost)
    assert content is not None
    assert blake3(content).hexdigest() == known.blake3


@pytest.mark.s3
def test_a_mover_that_dies_while_it_puts_away_is_followed_by_one_that_goes_on(lab: Site) -> None:
    """Readers are not sent there before all of it is away, nor is anything deleted."""
    lab.record("ice", frames=1)
    lab.plan("cold", name="ice")
    passed: list[str] = []

    def reached(point: str) -> None:
        passed.append(point)
        if passed.count("object put away") == 2:
            raise Killed

    with pytest.raises(Killed):
        lab.mover(reached).work()
    assert passed[-1] == "object put away"
    lab.check_readable("ice", frames=1)
    assert "ice" not in {path.parent.name for path in lab.runs.glob("*/_forebay/tiers.json")}
    lab.settle()
    run = lab.take_in("ice")
    shelf = archived_copy(lab.catalogue, lab.tiers, run, tier="cold")
    every = recall_of(lab.catalogue, lab.tiers, shelf, lab.catalogue.objects(run.run_id))
    assert every is not None
    assert set(every.look().away) == set(every.objects)
    with pytest.raises(ArchivedError):
        lab.check_readable("ice", frames=1)


def test_an_archive_without_botocore_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And trying the tier out does, too."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    tier = TierSpecification(url="s3://b/p", storage_class="DEEP_ARCHIVE")
    assert "pip install 'forebay[aws]'" in (probe(Tier("deep", tier)).problem or "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "s3://b/p", "recall_hours": 3}, "recall_hours is for a tier in s3:// whose"),
        ({"url": "/cold", "storage_class": "GLACIER", "recall_days": 3}, "recall_days is for a"),
        (
            {"url": "s3://b", "storage_class": "DEEP_ARCHIVE", "recall_speed": "expedited"},
            "DEEP_ARCHIVE has no recall_speed 'expedited'",
        ),
    ],
)
def test_terms_that_no_archive_has_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TierSpecification.model_validate(given)
