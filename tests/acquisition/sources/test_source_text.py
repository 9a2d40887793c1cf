"""The text that names a source."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import FrameSource
from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources import ReplaySource, Scene, SimulatedSource, open_source

FIELDS = {field.name: field.type for field in dataclasses.fields(Scene)}


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


SCENES = st.builds(
    Scene,
    shape=st.tuples(st.integers(1, 99), st.integers(1, 99)),
    emitters=st.integers(0, 1000),
    photons=number(0, 1e7),
    sigma=number(0.05, 100),
    background=number(0, 1e4),
    drift=st.tuples(number(-9, 9), number(-9, 9)),
    diffusion=number(0, 9),
    bleaching=number(0, 1),
    read_noise=number(0, 99),
    gain=number(1e-3, 99),
    offset=number(0, 999),
    bits=st.integers(1, 16),
    seed=st.integers(0, 2**63 - 1),
)


def written(value: Any) -> str:
    return "x".join(map(repr, value)) if isinstance(value, tuple) else repr(value)


def complaint(text: str) -> str:
    """Return what is wrong with a text; nothing where it gives a source."""
    try:
        with open_source(text) as source:
            assert isinstance(source, FrameSource)
            return ""
    except SourceError as error:
        return str(error)


def test_a_path_is_that_of_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `pathlib` gives it, and whatever it is called; what is neither is refused."""
    monkeypatch.chdir(tmp_path)
    np.save("simulated:1.npy", np.zeros((2, 4, 6), "uint8"))
    with open_source(Path("simulated:1.npy")) as source:
        assert isinstance(source, ReplaySource)
        assert source.geometry.shape == (4, 6)
    assert "3 is no source" in complaint(3)  # type: ignore[arg-type]


def opened(text: str) -> SimulatedSource:
    with open_source(text) as source:
        assert isinstance(source, SimulatedSource)
        return source


@given(scene=SCENES, order=st.permutations(sorted(FIELDS)), space=st.sampled_from(["", " ", "\t"]))
def test_a_scene_written_as_text_is_read_back(scene: Scene, order: list[str], space: str) -> None:
    """Whatever the values, their order and the spaces between them."""
    items = [f"{space}{name}{space}={space}{written(getattr(scene, name))}" for name in order]
    assert opened("simulated:" + ",".join(items)).scene == scene


@given(names=st.sets(st.sampled_from(sorted(FIELDS))), scene=SCENES)
def test_what_the_text_leaves_out_has_its_default(names: set[str], scene: Scene) -> None:
    """Any part of the parameters can be given."""
    given_values = {name: getattr(scene, name) for name in names}
    text = ",".join(f"{name}={written(value)}" for name, value in given_values.items())
    assert opened(f"simulated:{text}").scene == Scene(**given_values)


@pytest.mark.parametrize("text", ["simulated", "simulated:", "simulated: "])
def test_simulated_alone_is_the_default_scene(text: str) -> None:
    """No parameters, or no text behind the colon."""
    assert opened(text).scene == Scene()


@given(text=st.text(max_size=40))
@settings(max_examples=300)
def test_no_text_gives_anything_but_a_source_or_one_line(text: str) -> None:
    """A text that is no simulation is a SourceError of one printable line."""
    assert complaint(f"simulated:{text}").isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("emiters=5", "has no 'emiters', but background, .*; did you mean emitters?"),
        ("SEED=5", "has no 'SEED', .*; did you mean seed?"),
        ("qqq=5", "has no 'qqq', but background, bits, .*; choose one of those"),
        ("frames=5", "has no 'frames', .*: give it as --frames or frames=…"),
        ("rate=5", "has no 'rate', .*: give it as --rate or rate=…"),
        ("emitters", "'emitters' is not key=value in simulated:emitters; write for example"),
        ("emitters=", "'emitters=' is not key=value"),
        ("=5", "'=5' is not key=value"),
        ("seed=1,,bits=8", "'' is not key=value"),
        ("seed=1,seed=2", "seed is given twice"),
        ("seed=1.5", "seed cannot be '1.5'; give a whole number"),
        ("sigma=wide", "sigma cannot be 'wide'; give a number"),
        ("sigma=nan", "sigma cannot be nan; give a number from 0.05 to 1000"),
        ("shape=64", "shape cannot be '64'; give two whole numbers, y first, such as 256x256"),
        ("shape=64x64x3", "shape cannot be '64x64x3'; give two whole numbers"),
        ("shape=64x4.5", "shape cannot be '64x4.5'; give two whole numbers"),
        ("shape=0x64", "shape cannot be 0; give a whole number from 1 to 32768"),
        ("drift=1", "drift cannot be '1'; give two numbers, y first, such as 0.1x-0.2"),
        ("lost_fraction=2", "lost_fraction cannot be 2.0; give a number from 0 to 0.999"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, said: str) -> None:
    """The message names the item, the nearest right key, and what is allowed."""
    with pytest.raises(SourceError, match=said):
        open_source(f"simulated:{text}")


def test_the_arguments_reach_the_simulated_camera() -> None:
    """Rate, frames and the lost fraction are those that were given."""
    text = "simulated:shape=8x8,emitters=0,lost_fraction=0.5"
    with open_source(text, rate=1e6, frames=40) as source:
        counters = [frame.counter for frame in source.frames()]
    assert not source.can_wait
    assert source.metadata.frame_rate == 1e6
    assert 5 < len(counters) < 35
    assert max(counters) < 40


def test_a_path_is_a_recording(tmp_path: Path) -> None:
    """Also one that is called as the simulated camera is, written with its folder."""
    np.save(tmp_path / "simulated.npy", np.zeros((2, 3, 4), np.uint8))
    (tmp_path / "simulated.npy").rename(tmp_path / "simulated:emitters=5.npy")
    with open_source(f"{tmp_path}/simulated:emitters=5.npy", frames=5) as source:
        assert isinstance(source, ReplaySource)
        assert len(list(source.frames())) == 5


def test_open_source_and_the_sources_take_the_same_arguments() -> None:
    """The names and defaults of what they have in common agree."""
    ours = inspect.signature(open_source).parameters
    for source in (ReplaySource, SimulatedSource):
        theirs = inspect.signature(source).parameters
        for name in ("rate", "frames", "metadata", "clock"):
            assert theirs[name].default == ours[name].default
