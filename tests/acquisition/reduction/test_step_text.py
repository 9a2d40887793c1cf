"""Steps as text and as tables: what is understood, and what is said of what is not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.reduction import (
    ReductionError,
    ReductionSettings,
    Step,
    parse_step,
    read_step,
    step_text,
)
from forebay.acquisition.reduction.steps import (
    STEPS,
    BackgroundStep,
    BinStep,
    BitDepthStep,
    CompandStep,
    FlatFieldStep,
    RegionStep,
    SelectStep,
    SparsifyStep,
)

integers = st.sampled_from(["uint8", "int8", "uint16", "int16", "uint32", "int32"])
numbers = st.floats(1e-9, 1e9)
paths = st.builds(
    Path, st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1)
).filter(lambda path: str(path) == str(path).strip())
ranges = st.tuples(st.integers(0, 9999), st.integers(0, 9999))
steps = st.one_of(
    st.builds(
        BinStep,
        factor=st.tuples(st.integers(1, 99), st.integers(1, 99)),
        method=st.sampled_from(["mean", "sum"]),
        dtype=st.none() | integers,
    ),
    st.builds(RegionStep, y=ranges, x=ranges, mask=st.booleans(), fill=numbers),
    st.builds(BackgroundStep, image=paths, offset=numbers, dtype=st.just("float") | integers),
    st.builds(FlatFieldStep, image=paths, dark=st.none() | paths),
    st.builds(BitDepthStep, bits=st.integers(1, 64), of=st.none() | st.integers(1, 64)),
    st.builds(SparsifyStep, threshold=numbers, background=numbers),
    st.builds(CompandStep, gain=numbers, read_noise=numbers, maximum=st.integers(1, 65_535)),
    st.builds(SelectStep, every=st.integers(1, 1000)),
    st.builds(SelectStep, min_change=numbers),
    st.builds(SelectStep, min_variance=numbers),
)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("bin:2", BinStep(factor=(2, 2))),
        (
            " bin : 2x4, method = sum ,dtype=uint16",
            BinStep(factor=(2, 4), method="sum", dtype="uint16"),
        ),
        ("region:10:20,0:512", RegionStep(y=(10, 20), x=(0, 512))),
        (
            "region:10:20,0:512,mask=true,fill=7",
            RegionStep(y=(10, 20), x=(0, 512), mask=True, fill=7),
        ),
        ("region:x=1:2,y=3:4", RegionStep(y=(3, 4), x=(1, 2))),
        ("background:dark.npy", BackgroundStep(image=Path("dark.npy"))),
        ('background:"a, b.npy",offset=100', BackgroundStep(image=Path("a, b.npy"), offset=100)),
        ("background:image=a=b.npy", BackgroundStep(image=Path("a=b.npy"))),
        (
            "flat-field:f.h5::/flat,dark=d.tif,dtype=float",
            FlatFieldStep(image=Path("f.h5::/flat"), dark=Path("d.tif"), dtype="float"),
        ),
        ("bit-depth:10,of=12", BitDepthStep(bits=10, of=12)),
        ("sparsify:20.5,background=100", SparsifyStep(threshold=20.5, background=100)),
        ("compand:0.46,1.6,spacing=0.5", CompandStep(gain=0.46, read_noise=1.6, spacing=0.5)),
        ("select:every=10", SelectStep(every=10)),
        ("select:min-change=2.5", SelectStep(min_change=2.5)),
        ("select:min_variance=1e3", SelectStep(min_variance=1000)),
    ],
)
def test_a_text_says_what_is_done(text: str, step: Step) -> None:
    """Each step by its text; spaces around the parts do not matter."""
    assert parse_step(text) == step


@given(steps)
def test_a_step_is_its_text_and_its_table(step: Step) -> None:
    """Whatever the parameters are, text and table give the step back."""
    assert parse_step(step_text(step)) == step
    assert read_step(step.model_dump(mode="json")) == step
    assert read_step(step) is step


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bni:2", "there is no step 'bni'; steps are bin, region, .* did you mean bin?"),
        ("", "there is no step ''"),
        ("bin", "'bin': factor is missing; write for example bin:2"),
        ("bin:", "factor is missing"),
        ("bin:0", "factor cannot be 0: it must be greater than 0"),
        ("bin:2.5", "factor cannot be '2.5': it must be a valid tuple"),
        ("bin:2,3", "'3' needs a name in front: name=3; write for example bin:2"),
        ("bin:2,factor=3", "factor is given twice"),
        ("bin:2,methd=sum", "no parameter methd; known are factor, method, dtype; did you mean"),
        ("bin:2,method=median", "method cannot be 'median': it must be 'mean' or 'sum'"),
        ("bin:2,step=region", "step is given twice"),
        ("region:0:5", "x is missing; write for example region:0:512,256:768"),
        ("region:5,0:5", "y cannot be '5'"),
        ("bit-depth:ten", "bits cannot be 'ten': it must be a valid integer"),
        ("sparsify:-1", "threshold cannot be '-1': it must be greater than 0"),
        ("sparsify:nan", "threshold cannot be 'nan': it must be a finite number"),
        ("select:", "it needs one of every, min_change and min_variance"),
        ("select:every=2,min-change=3", "it needs one of"),
        ("select:10", "'10' needs a name in front"),
        ('background:"a.npy', "a quote is not closed"),
        ("background:\n", r"'background:\\n': image is missing"),
    ],
)
def test_what_is_wrong_with_a_text_is_said_in_one_line(text: str, message: str) -> None:
    """The error names the text, the parameter, what is allowed, and an example."""
    with pytest.raises(ReductionError, match=message) as caught:
        parse_step(text)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_step", "message"),
    [
        (17, "17 is no step; write a text such as 'bin:2', or a table"),
        ({"factor": 2}, "is no step"),
        ({"step": "bun"}, "did you mean bin"),
        ({"step": "bin", "factor": "wide"}, "factor cannot be 'wide'"),
        ({"step": "bin", "factor": 2, "size": 2}, "no parameter size"),
    ],
)
def test_a_table_is_checked_as_a_text_is(given_step: Any, message: str) -> None:
    """What a configuration file holds is refused with the same words."""
    with pytest.raises(ReductionError, match=message):
        read_step(given_step)


def test_settings_take_texts_and_tables() -> None:
    """Both forms may stand in one list; numbers and lists of a table are taken as they are."""
    settings = ReductionSettings.model_validate(
        {
            "steps": ["bin:2", {"step": "region", "y": [0, 5], "x": [1, 9]}],
            "overload_steps": ["bit-depth:10"],
            "keep_raw_every": 100,
        }
    )

    assert settings.steps == (BinStep(factor=(2, 2)), RegionStep(y=(0, 5), x=(1, 9)))
    assert settings.overload_steps == (BitDepthStep(bits=10),)
    assert ReductionSettings.model_validate(settings.model_dump()) == settings


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"steps": ["bin:0"]}, "'bin:0': factor cannot be 0"),
        ({"keep_raw_every": 0}, "greater than 0"),
        ({"overload_steps": ["bit-depth:9"] * 9}, "at most 8"),
        ({"step": []}, "not permitted"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(
    given_settings: dict[str, Any], message: str
) -> None:
    """A step's own words come through the settings model."""
    with pytest.raises(ValueError, match=message):
        ReductionSettings.model_validate(given_settings)


def test_paths_can_be_anchored() -> None:
    """Relative paths begin at the folder of the file that they stand in; others stay."""
    step = FlatFieldStep(image=Path("flat.npy"), dark=Path("/images/dark.npy"))

    assert step.anchored(Path("/lab")) == FlatFieldStep(
        image=Path("/lab/flat.npy"), dark=Path("/images/dark.npy")
    )
    assert BinStep(factor=(2, 2)).anchored(Path("/lab")) == BinStep(factor=(2, 2))


def test_the_example_of_each_step_is_one() -> None:
    """What an error tells one to write is understood."""
    for name, model in STEPS.items():
        for text in model.example.replace(" or ", ", ").split(", "):
            if text:
                assert parse_step(text).step == name
