"""``forebay runs export``, ``import`` and ``check-bundle``, and ``forebay transfer``."""

from pathlib import Path

from tests.cli.conftest import Forebay
from tests.tiering.site import Site
from tests.tiering.test_results import LISTED

from forebay.engine import process
from forebay.opening import open_run


def test_a_run_goes_into_a_bundle_and_out_of_it(forebay: Forebay, tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.record("water")
        site.record("open", close=False)
    (tmp_path / "away").mkdir()
    made = forebay("runs", "export", "water", "bundle", "--runs", "runs", "--json")
    assert (made.code, made.json[0]["objects"]) == (0, 18)
    assert forebay("runs", "check-bundle", "bundle").out.endswith("as it was bagged\n")
    assert "all as committed" in forebay("runs", "import", "bundle", "away").out
    again = forebay("runs", "import", "bundle", "away")
    assert (again.code, "exists already" in again.error) == (4, True)
    refused = forebay("runs", "export", "open", "other", "--runs", "runs")
    assert (refused.code, "is not closed" in refused.error) == (3, True)
    (tmp_path / "bundle" / "data" / "runs" / "water" / "flags" / "c.0").unlink()
    checked = forebay("runs", "check-bundle", "bundle", "--json")
    assert (checked.code, checked.json[0]["ok"]) == (5, False)
    damaged = forebay("runs", "import", "bundle", "runs")
    assert (damaged.code, "flags/c.0' is missing" in damaged.error) == (5, True)
    (tmp_path / "bundle" / "tagmanifest-sha512.txt").unlink()
    (tmp_path / "bundle" / "manifest-sha512.txt").write_text("")
    for words in (["check-bundle", "bundle"], ["import", "bundle", "runs"]):
        emptied = forebay("runs", *words)
        assert (emptied.code, "is in no manifest" in emptied.out + emptied.error) == (5, True)


def test_results_go_along_where_they_are_named(forebay: Forebay, tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        water = site.record("water")
        result = process(open_run(water), LISTED)
    (tmp_path / "away").mkdir()
    words = ("runs", "export", "water", "bundle.tar", "--runs", "runs")
    unknown = forebay(*words, "--result", "tracks-*")
    assert (unknown.code, f"it has {result.path.name}" in unknown.error) == (2, True)
    assert forebay(*words, "--result", "listed-*").code == 0
    for _ in range(2):
        told = forebay("runs", "import", "bundle.tar", "away", "--json").json[0]
        assert told["results"] == [str(tmp_path / "away/results/water" / result.path.name)]
    assert "5 of 5 frames" in forebay("runs", "show", "water", "--runs", "away").out


def test_results_are_sent_along_where_they_are_named(forebay: Forebay, tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        result = process(open_run(site.record("water")), LISTED)
    (tmp_path / "away").mkdir()
    words = ("transfer", "water", "away", "--runs", "runs")
    for wrong in (["--result", "tracks-*"], ["--result", "*", "--compression", "zstd"]):
        assert forebay(*words, *wrong).code == 2
    assert not list((tmp_path / "away").iterdir())
    told = forebay(*words, "--result", "*", "--json").json[0]
    assert [each["state"] for each in (told, *told["results"])] == ["sent", "sent"]
    assert result.path.name in told["results"][0]["receipt"]["target"]
    again = forebay(*words, "--result", "listed-*").out
    assert again.count("there already, whole") == 2
    assert f"{result.path.name}: entered in {tmp_path}/away/results/ledger.sqlite" in again
    assert "5 of 5 frames" in forebay("runs", "show", "water", "--runs", "away").out


def test_a_run_is_sent_and_found_again(forebay: Forebay, tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        site.record("water")
    (tmp_path / "away").mkdir()
    words = ("transfer", "water", "away", "--runs", "runs")
    assert "18 objects" in forebay(*words, "--rate", "1 GB").out
    assert "there already, whole, since" in forebay(*words).out
    told = forebay(*words, "--json").json[0]
    assert told["state"] == "there already"
    assert told["receipt"]["objects"] == 18
    taken = forebay(*words, "--compression", "zstd")
    assert (taken.code, "holds another run" in taken.error) == (4, True)
    packed = forebay(*words, "--compression", "zstd", "--name", "packed", "--json").json[0]
    assert packed["receipt"]["run_id"] != told["receipt"]["run_id"]
    assert forebay("runs", "verify", "packed", "--runs", "away").code == 0
    for wrong in (["--compression", "zip"], ["--rate", "fast"], ["--name", "../up"]):
        assert forebay(*words, *wrong).code == 2
    assert forebay("transfer", "water", "nowhere", "--runs", "runs").code == 3
