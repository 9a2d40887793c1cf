"""Where algorithms come from: forebay itself, installed packages, and a user's own files."""

import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from tests.engine.conftest import WriteRun

from forebay.engine import REGISTRY, Algorithm
from forebay.engine.errors import AlgorithmError, UnknownAlgorithmError
from forebay.engine.registry import Registry

OWN = '''
import xarray as xr
import forebay

@forebay.algorithm("{name}", version="1.0.0")
def own(frames: xr.DataArray, *, gain: float = {gain}) -> xr.DataArray:
    """Multiply the frames."""
    return scaled(frames, gain)

def scaled(frames: xr.DataArray, gain: float) -> xr.DataArray:
    return frames * gain
'''


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Forget what a test has registered and imported."""
    REGISTRY.load()
    known = dict(REGISTRY._algorithms)
    modules = set(sys.modules)
    yield
    REGISTRY._algorithms.clear()
    REGISTRY._algorithms.update(known)
    for name in set(sys.modules) - modules:
        if name.startswith("forebay_file_"):
            del sys.modules[name]


def nothing(frames: xr.DataArray) -> xr.DataArray:
    return frames


def offering(*entry_points: EntryPoint) -> Callable[..., EntryPoints]:
    return lambda *, group: EntryPoints(entry_points).select(group=group)


def test_the_newest_version_is_meant_unless_one_is_named() -> None:
    """Versions are compared as numbers, not as texts."""
    registry = Registry()
    for version in ("1.9.0", "1.10.0", "0.99.99"):
        registry.add(Algorithm("blur", version, nothing))
    assert registry.get("blur").version == "1.10.0"
    assert registry.get("blur", "1.9.0").version == "1.9.0"
    assert registry.get("blur-0.99.99").version == "0.99.99"


def test_an_unknown_name_points_at_the_nearest() -> None:
    """The message lists what there is, and the name that was probably meant."""
    registry = Registry()
    registry.add(Algorithm("find-particles", "1.0.0", nothing))
    with pytest.raises(UnknownAlgorithmError, match=r"did you mean 'find-particles'\?; there are"):
        registry.get("find-particle")
    with pytest.raises(UnknownAlgorithmError, match=r"no algorithm 'find-particles 2\.0\.0'"):
        registry.get("find-particles", "2.0.0")


def test_one_name_and_version_is_one_function() -> None:
    """Another module cannot take the place of an algorithm; its own module can declare it anew."""
    registry = Registry()
    registry.add(Algorithm("blur", "1.0.0", nothing))
    registry.add(Algorithm("blur", "1.0.0", lambda frames: frames))
    elsewhere: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile("def other(frames): return frames", "elsewhere.py", "exec"), elsewhere)
    with pytest.raises(AlgorithmError, match=r"of 'elsewhere' is declared in .* already; give it"):
        registry.add(Algorithm("blur", "1.0.0", elsewhere["other"]))


def test_the_shipped_algorithms_are_there() -> None:
    """Particles and spectra come with forebay."""
    assert REGISTRY.get("find-particles").summary.startswith("Find the particles")
    assert REGISTRY.get("background-spectrum").parameters.model_fields.keys() == {
        "background_frames"
    }


def test_a_file_of_ones_own_is_loaded_whatever_it_is_called(tmp_path: Path) -> None:
    """A file called like a module of the standard library hides nothing, and two do not clash."""
    for folder, name, gain in (("a", "first-gain", 2), ("b", "second-gain", 3)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "statistics.py").write_text(OWN.format(name=name, gain=gain))
        REGISTRY.load([str(tmp_path / folder / "statistics.py")])
    assert REGISTRY.get("first-gain").bind({}) == {"gain": 2.0}
    assert REGISTRY.get("second-gain").bind({}) == {"gain": 3.0}
    import statistics

    assert statistics.mean([1, 3]) == 2


def test_a_file_cannot_pass_for_a_shipped_algorithm(tmp_path: Path) -> None:
    """The name and version of a shipped algorithm stay its own."""
    (tmp_path / "mine.py").write_text(OWN.format(name="find-particles", gain=1))
    with pytest.raises(AlgorithmError, match=r"find-particles-1\.0\.0 .* is declared in"):
        REGISTRY.load([str(tmp_path / "mine.py")])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be"),
        ("def (", "SyntaxError"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_named(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    """The message names the file and what is wrong with it, and nothing of it stays."""
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AlgorithmError, match=reason) as refused:
        REGISTRY.load([str(path)])
    assert str(path) in str(refused.value)
    path.write_text(OWN.format(name="mended", gain=1))
    REGISTRY.load([str(path)])
    assert REGISTRY.get("mended").version == "1.0.0"


def test_a_module_of_ones_own_is_loaded_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed or on the path is named like any module."""
    (tmp_path / "own_gain_module.py").write_text(OWN.format(name="by-name", gain=1))
    monkeypatch.syspath_prepend(tmp_path)
    REGISTRY.load(["own_gain_module"])
    assert REGISTRY.get("by-name").version == "1.0.0"
    with pytest.raises(AlgorithmError, match="the algorithms of 'not_there' cannot be loaded"):
        REGISTRY.load(["not_there"])


def test_installed_packages_add_algorithms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package names its module, or an object in it, in the group forebay.algorithms."""
    (tmp_path / "installed_gain.py").write_text(OWN.format(name="installed-gain", gain=1))
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("gain", "installed_gain:own", "forebay.algorithms")
    monkeypatch.setattr("forebay.engine.registry.entry_points", offering(point))
    REGISTRY.load()
    assert REGISTRY.get("installed-gain").version == "1.0.0"


def test_a_broken_package_does_not_keep_others_from_working(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, and named where an algorithm is not found."""
    point = EntryPoint("broken", "not_there", "forebay.algorithms")
    monkeypatch.setattr("forebay.engine.registry.entry_points", offering(point))
    monkeypatch.setattr(REGISTRY, "_broken", {})
    REGISTRY.load()
    REGISTRY.load()
    (record,) = caplog.records
    assert "of not_there cannot be loaded: ModuleNotFoundError" in record.getMessage()
    assert REGISTRY.get("find-particles").version == "1.0.0"
    with pytest.raises(UnknownAlgorithmError, match="; not_there could not be loaded"):
        REGISTRY.get("something-else")


def test_process_knows_algorithms_by_name(write_run: WriteRun) -> None:
    """A name is as good as the algorithm itself."""
    from forebay.engine import process

    result = process(write_run(shape=(32, 32)), "find-particles", diameter="5", minmass=1e9)
    assert (result.job.version, result.frames, len(result.table())) == ("1.0.0", 10, 0)
    with pytest.raises(UnknownAlgorithmError):
        process(write_run("other"), "find-nothing")
