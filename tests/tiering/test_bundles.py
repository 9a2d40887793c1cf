"""Runs in BagIt bundles: what stock validators say of them, and what is refused, by its name."""

import hashlib
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import bagit
import pytest
from tests.tiering.site import Site

from forebay.acquisition.errors import RunDamagedError
from forebay.errors import ForebayError
from forebay.opening import open_run
from forebay.tiering.errors import (
    BundleDamagedError,
    BundleError,
    HandoffBusyError,
    PlaceUnavailableError,
    RunNotTieredError,
    TargetTakenError,
)
from forebay.tiering.handoff.aside import held_aside
from forebay.tiering.handoff.contents import contents_of
from forebay.tiering.handoff.exporting import export_run
from forebay.tiering.handoff.importing import check_bundle, import_run


@pytest.fixture
def bundle(site: Site) -> Path:
    """The run in a bundle."""
    path = site.folder / "water-bundle"
    export_run(contents_of(site.runs / "water"), path)
    return path


@pytest.fixture
def away(site: Site) -> Path:
    """A folder of runs somewhere else."""
    folder = site.folder / "away"
    folder.mkdir()
    return folder


def same_run(one: Path, other: Path) -> bool:
    """Tell whether two folders hold the same run, byte by byte."""
    objects = [contents_of(each).objects for each in (one, other)]
    return objects[0] == objects[1] and open_run(other).verify().ok


def test_a_stock_validator_accepts_a_bundle(bundle: Path) -> None:
    found = bagit.Bag(str(bundle))
    found.validate()
    assert found.info["External-Identifier"]
    assert check_bundle(bundle) == []


def test_a_run_comes_out_as_it_went_in(site: Site, bundle: Path, away: Path) -> None:
    made = import_run(bundle, away)
    assert made.path == str(away / "water")
    assert same_run(site.runs / "water", away / "water")
    assert [each.name for each in away.iterdir()] == ["water"]
    with pytest.raises(TargetTakenError, match="exists already"):
        import_run(bundle, away)


def test_a_run_that_lies_in_a_colder_tier_goes_through_a_tar_file(site: Site, away: Path) -> None:
    site.move("cold")
    path = site.folder / "water.tar"
    export_run(contents_of(site.runs / "water"), path)
    assert check_bundle(path) == []
    import_run(path, away)
    site.move("hot")
    assert same_run(site.runs / "water", away / "water")
    with tarfile.open(path) as file:
        file.extractall(site.folder / "unpacked", filter="data")
    bagit.Bag(str(site.folder / "unpacked" / "water")).validate()


def test_a_bundle_that_another_program_has_made(site: Site, away: Path) -> None:
    folder = site.folder / "made"
    shutil.copytree(site.runs / "water", folder / "runs" / "water")
    for name in ("writer.lock", "aside"):
        path = folder / "runs" / "water" / "_forebay" / name
        path.unlink() if path.is_file() else path.rmdir()
    bagit.make_bag(str(folder), checksums=["sha256", "md5"])
    import_run(folder, away)
    assert same_run(site.runs / "water", away / "water")


@pytest.mark.parametrize("name", ["water.zip", "water.tar.gz", "water.TGZ"])
def test_a_bundle_is_no_archive_of_another_kind(site: Site, away: Path, name: str) -> None:
    """A folder that is called so would be taken for a file."""
    with pytest.raises(BundleError, match=r"give a name that ends in '\.tar'"):
        export_run(contents_of(site.runs / "water"), away / name)
    assert not (away / name).exists()


def test_what_is_not_whole_is_not_exported(site: Site) -> None:
    """An open run, one with a link in it, one that has lost or changed something, a taken name."""
    site.record("open", close=False)
    with pytest.raises(RunNotTieredError, match="is not closed"):
        contents_of(site.runs / "open")
    (site.runs / "water" / "beside").symlink_to("/etc")
    with pytest.raises(RunNotTieredError, match="is a link"):
        contents_of(site.runs / "water")
    (site.runs / "water" / "beside").unlink()
    contents = contents_of(site.runs / "water")
    taken = site.folder / "taken"
    taken.mkdir()
    with pytest.raises(TargetTakenError):
        export_run(contents, taken)
    with pytest.raises(PlaceUnavailableError, match="no such folder"):
        export_run(contents, site.folder / "nowhere" / "b")
    shard = site.runs / "water" / "frames" / "c.1.0.0"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(RunDamagedError, match=r"c\.1\.0\.0 has changed"):
        export_run(contents, site.folder / "b")
    shard.unlink()
    with pytest.raises(RunDamagedError, match=r"c\.1\.0\.0 is missing"):
        contents_of(site.runs / "water")
    assert not [
        each for each in site.folder.iterdir() if "water-b" in each.name or each.name == "b"
    ]


DATA = "data/runs/water"


def resealed(bundle: Path, edit: Callable[[str], str]) -> None:
    """Change the payload's manifest, and what is said of it."""
    manifest = bundle / "manifest-sha512.txt"
    manifest.write_text(edit(manifest.read_text()))
    digest = hashlib.sha512(manifest.read_bytes()).hexdigest()
    tags = bundle / "tagmanifest-sha512.txt"
    kept = [line for line in tags.read_text().splitlines() if "  manifest-" not in line]
    tags.write_text("\n".join([*kept, f"{digest}  manifest-sha512.txt"]) + "\n")


def renamed(new: str) -> Callable[[Path], None]:
    """Return what lets the manifest name the flags of the first block otherwise."""
    return lambda bundle: resealed(bundle, lambda text: text.replace(f"{DATA}/flags/c.0", new))


def added(name: str) -> Callable[[Path], None]:
    """Return what puts a file into a bundle and its manifest."""

    def add(bundle: Path) -> None:
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(b"x")
        line = f"{hashlib.sha512(b'x').hexdigest()}  {name}\n"
        info = bundle / "bag-info.txt"
        kept = [each for each in info.read_text().splitlines() if "Oxum" not in each]
        info.write_text("\n".join(kept) + "\n")
        resealed(bundle, lambda text: text + line)
        tags = bundle / "tagmanifest-sha512.txt"
        tags.write_text("\n".join(e for e in tags.read_text().splitlines() if "info" not in e))

    return add


def exchanged(bundle: Path) -> None:
    """Put other sound bytes in the place of a frame's, and say so in the manifest."""
    one, other = (bundle / DATA / "frames" / f"c.{number}.0.0" for number in (0, 1))
    before, after = (hashlib.sha512(each.read_bytes()).hexdigest() for each in (one, other))
    one.write_bytes(other.read_bytes())
    resealed(bundle, lambda text: text.replace(before, after))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed byte": (lambda b: (b / DATA / "flags/c.1").write_bytes(bytes(12)), "flags/c.1' has"),
    "a lost file": (lambda b: (b / DATA / "flags/c.1").unlink(), "flags/c.1' is missing"),
    "a file too many": (lambda b: (b / "data/more").write_bytes(b""), "'data/more' is in no"),
    "a stray tag": (lambda b: (b / "more.txt").write_bytes(b""), "'more.txt' is in no manifest"),
    "a changed tag": (
        lambda b: (b / "bag-info.txt").write_text("Payload-Oxum: 1.1\n"),
        "'bag-info.txt' has changed",
    ),
    "a part elsewhere": (lambda b: (b / "fetch.txt").write_text(""), "fetch.txt"),
    "a way out": (renamed("data/../../../etc/passwd"), "'data/../../../etc/passwd' is not a key"),
    "an absolute name": (renamed("/etc/passwd"), "'/etc/passwd' is not a key"),
    "no normal form": (renamed(f"{DATA}/u\u0308"), "Unicode's normal form NFC"),
    "case alone": (added(f"{DATA}/FLAGS/c.0"), "upper and lower case"),
    "a signpost": (added(f"{DATA}/_forebay/tiers.json"), "never leaves its folder"),
    "a stranger": (added(f"{DATA}/notes.txt"), "belongs to no run"),
    "a second run": (added("data/runs/b/zarr.json"), "holds 2 runs"),
    "an exchanged block": (exchanged, "not as it was committed"),
    "a link": (lambda b: (b / "data/link").symlink_to("/etc"), "'data/link', which is neither"),
    "no bag": (lambda b: (b / "bagit.txt").unlink(), "it has no bagit.txt"),
    "a file named twice": (
        lambda b: resealed(b, lambda text: f"{text}{'0' * 128}  {text.split()[1]}\n"),
        "' twice",
    ),
    "a line that is none": (
        lambda b: resealed(b, lambda text: f"{text}0123  {DATA}/flags/c.0\n"),
        "which is no sha512 digest and path",
    ),
    "a newer bag": (
        lambda b: (b / "bagit.txt").write_text(
            "BagIt-Version: 9\nTag-File-Character-Encoding: UTF-8"
        ),
        "says BagIt 9",
    ),
    "no manifest": (lambda b: (b / "manifest-sha512.txt").unlink(), "manifest-sha512.txt' is miss"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_wrong_with_a_bundle_is_named_and_nothing_comes_out_of_it(
    bundle: Path, away: Path, damage: str
) -> None:
    harm, said = DAMAGES[damage]
    harm(bundle)
    with pytest.raises(ForebayError) as told:
        import_run(bundle, away)
    assert isinstance(told.value, BundleDamagedError | BundleError | RunNotTieredError)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert list(away.iterdir()) == []


def test_all_that_is_wrong_is_told_at_once(bundle: Path) -> None:
    (bundle / DATA / "flags/c.1").write_bytes(bytes(12))
    (bundle / DATA / "flags/c.0").unlink()
    assert len(check_bundle(bundle)) == 3
    (bundle / DATA / "zarr.json").unlink()
    assert len(check_bundle(bundle)) == 4


def test_paths_are_told_plainly_and_a_link_is_followed_as_the_system_does(
    site: Site, bundle: Path, away: Path
) -> None:
    """Words that lead up again are not part of a place's name."""
    assert import_run(bundle, away / ".." / away.name).path == str(away / "water")
    deep = site.folder / "deep" / "inside"
    deep.mkdir(parents=True)
    (site.folder / "link").symlink_to(deep)
    told = import_run(bundle, site.folder / "link" / "..").path
    assert told == str(deep.parent.resolve() / "water")
    assert contents_of(away / "water" / "frames" / "..").name == "water"


def test_a_tar_file_that_was_cut_off_or_is_none(site: Site, away: Path) -> None:
    path = site.folder / "water.tar"
    export_run(contents_of(site.runs / "water"), path)
    whole = path.read_bytes()
    ends = [9000, 20 * 512, 20 * 512 + 100, len(whole) // 2, len(whole) - tarfile.RECORDSIZE]
    for end in ends:
        path.write_bytes(whole[:end])
        with pytest.raises(BundleDamagedError, match="it was cut off"):
            import_run(path, away)
    path.write_bytes(b"no tar file")
    with pytest.raises(BundleError, match="is no tar file"):
        import_run(path, away)
    with pytest.raises(BundleError, match="no such folder or file"):
        import_run(site.folder / "nothing", away)
    assert list(away.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("water/data/runs/water/flags/c.0", "holds 'water/data/runs/water/flags/c.0' twice"),
        ("other/data", "holds 'other/data' beside the folder 'water'"),
        ("bagit.txt", "holds 'bagit.txt' beside the folder 'water'"),
    ],
)
def test_a_tar_file_has_one_folder_and_each_file_once(
    site: Site, away: Path, name: str, said: str
) -> None:
    path = site.folder / "water.tar"
    export_run(contents_of(site.runs / "water"), path)
    with tarfile.open(path, "a") as file:
        file.addfile(tarfile.TarInfo(name))
    with pytest.raises(BundleDamagedError, match=said):
        import_run(path, away)
    assert list(away.iterdir()) == []


def test_two_at_once(bundle: Path, away: Path) -> None:
    """The second one is told so, and what the first one makes stays."""
    identity = bagit.Bag(str(bundle)).info["External-Identifier"]
    with held_aside(away / "water", identity) as aside:
        (aside / "half").touch()
        with pytest.raises(HandoffBusyError, match="in the hands of another process"):
            import_run(bundle, away)
        assert (aside / "half").exists()
    import_run(bundle, away)
