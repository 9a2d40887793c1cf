"""The text that names a camera."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam.grammar import parse_camera

NAMES = st.from_regex(r"[A-Z][A-Za-z0-9_]{0,20}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9._+-]{1,20}", fullmatch=True)


def complaint(text: str) -> str:
    """Return what is wrong with a text; nothing where it names a camera."""
    try:
        return "" if parse_camera(text).camera else "no camera is named"
    except SourceError as error:
        return str(error)


@given(
    features=st.dictionaries(NAMES, VALUES, max_size=6),
    camera=st.sampled_from(["127.0.0.1", "Aravis-GV01", "Vendor Inc-Model 2-0042"]),
    space=st.sampled_from(["", " ", "\t"]),
)
def test_what_is_written_is_read_in_its_order(
    features: dict[str, str], camera: str, space: str
) -> None:
    """The camera, and the features as they stand, for only the camera knows their types."""
    items = [f"{space}{name}{space}={space}{value}" for name, value in features.items()]
    found = parse_camera(",".join([camera, *items]))
    assert found.camera == camera
    assert list(found.features.items()) == list(features.items())
    assert found.options == {}


def test_options_are_told_from_features() -> None:
    """They are arguments of the source, and of a type."""
    found = parse_camera("GV01,patience=2.5,Width=64,buffer_bytes=1MiB")
    assert found.features == {"Width": "64"}
    assert found.options == {"patience": 2.5, "buffer_bytes": 2**20}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_camera("GV01,DeviceUserID=a=b").features == {"DeviceUserID": "a=b"}


@given(text=st.text(max_size=40))
def test_no_text_gives_anything_but_a_camera_or_one_line(text: str) -> None:
    """What is wrong is said in one printable line."""
    assert complaint(text).isprintable()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no camera; give its address, its id or its serial number"),
        (" ,Width=4", "names no camera"),
        ("GV01,Width", "'Width' is not key=value in camera:GV01,Width; write for example"),
        ("GV01,Width=", "'Width=' is not key=value"),
        ("GV01,=4", "'=4' is not key=value"),
        ("GV01,Width=4,,Height=4", "'' is not key=value"),
        ("GV01,Wi dth=4", "'Wi dth=4' is not key=value"),
        ("GV01,Width=4,Width=5", "Width is given twice"),
        ("GV01,patience=1,patience=2", "patience is given twice"),
        ("GV01,patience=long", "patience cannot be 'long'; give a number of seconds"),
        ("GV01,buffer_bytes=big", "buffer_bytes cannot be 'big'; give a size such as 64MiB"),
        ("GV01,rate=5", "rate belongs to the recording, not to the camera: give it as --rate"),
        ("GV01,frames=5", "frames belongs to the recording"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, said: str) -> None:
    """The message names the item and what to write instead."""
    with pytest.raises(SourceError) as raised:
        parse_camera(text)
    assert said in str(raised.value)
