"""Any bytes whatever are a header, or are refused with a reason in one line."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import ImageMetadata
from forebay.acquisition.clock import SYSTEM_CLOCK
from forebay.acquisition.intake import AnomalyLog
from forebay.acquisition.sources.network.header import (
    Begin,
    End,
    FrameHeader,
    MessageError,
    StreamMetadata,
    encode_header,
    parse_header,
)
from forebay.acquisition.sources.network.stream import FrameStream

RIGHT: dict[str, Any] = {
    "version": 1,
    "kind": "frame",
    "stream": "a",
    "counter": 5,
    "timestamp": 7,
    "shape": [2, 3],
    "dtype": "uint8",
    "flags": 0,
    "crc32c": 0,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
# A right header of which some fields are something else.
NEARLY = st.dictionaries(st.sampled_from([*RIGHT, "metadata"]), JSON, max_size=3).map(
    lambda wrong: RIGHT | wrong
)
SHAPES = st.lists(st.integers(1, 2**31 - 1), min_size=2, max_size=3).map(tuple)
DTYPES = st.sampled_from(["uint8", "int16", "float64"])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
FACTS = st.dictionaries(
    NAMES, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | NAMES | st.lists(NAMES)
)
HEADERS = st.one_of(
    st.builds(
        FrameHeader,
        stream=NAMES,
        shape=SHAPES,
        dtype=DTYPES,
        counter=st.integers(0, 2**64 - 1),
        timestamp=st.integers(-(2**63), 2**63 - 1),
        flags=st.integers(0, 2**32 - 1),
        crc32c=st.none() | st.integers(0, 2**32 - 1),
    ),
    st.builds(
        Begin,
        stream=NAMES,
        shape=SHAPES,
        dtype=DTYPES,
        metadata=st.builds(
            StreamMetadata, exposure=st.none() | st.floats(1e-9, 1e9), instrument=FACTS
        ),
    ),
    st.builds(End, stream=NAMES),
)


def refusal(*parts: bytes) -> MessageError | None:
    """Return what is wrong with a message that comes first; None if nothing is."""
    stream = FrameStream(max_frame_bytes=1000, anomalies=AnomalyLog(SYSTEM_CLOCK))
    try:
        stream.take([memoryview(part) for part in parts])
    except MessageError as error:
        wrong = error
    else:
        return None
    assert stream.geometry is None
    assert not stream.ended
    assert str(wrong).isprintable()
    assert len(str(wrong)) < 400
    return wrong


def said(**wrong: Any) -> str:
    error = refusal(json.dumps(RIGHT | wrong).encode(), bytes(6))
    return "" if error is None else str(error)


@settings(deadline=None)
@given(parts=st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_any_bytes_are_refused_in_one_line(parts: list[bytes]) -> None:
    assert refusal(*parts) is not None


@given(header=NEARLY | JSON, pixels=st.binary(max_size=12), ascii_only=st.booleans())
@settings(deadline=None, max_examples=200)
def test_any_json_is_taken_or_refused_in_one_line(
    header: Any, pixels: bytes, ascii_only: bool
) -> None:
    """Also with NaN, infinity, halves of characters, and numbers of any size."""
    text = json.dumps(header, ensure_ascii=ascii_only)
    refusal(text.encode("utf-8", "surrogatepass"), pixels)


@settings(deadline=None)
@given(header=HEADERS)
def test_what_is_sent_is_what_is_read(header: Begin | FrameHeader | End) -> None:
    assert parse_header(encode_header(header)) == header


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"version": 2}, "version is 2: input should be 1"),
        ({"kind": "image"}, "no begin, frame or end"),
        ({"stream": ""}, "stream is '': string should have at least 1 character"),
        ({"stream": "x" * 65}, "stream is 'xxx.*at most 64 characters"),
        ({"counter": -1}, "counter is -1: input should be greater than or equal to 0"),
        ({"counter": 2**64}, f"counter is {2**64}: input should be less than"),
        ({"counter": 1.0}, "counter is 1.0: input should be a valid integer"),
        ({"counter": "1"}, "counter is '1': input should be a valid integer"),
        ({"timestamp": 2**63}, "timestamp is"),
        ({"flags": -1}, "flags is -1"),
        ({"crc32c": 2**32}, "crc32c is"),
        ({"shape": [6]}, "shape is"),
        ({"shape": [1, 1, 2, 3]}, "shape is"),
        ({"shape": [0, 3]}, "shape.0 is 0"),
        ({"shape": [2**31, 3]}, "shape.0 is 2147483648"),
        ({"shape": [2**30, 2**30, 2**30]}, "bytes; max_frame_bytes is 1000"),
        ({"shape": [3, 3]}, "frame 5 with 6 bytes of pixels: 3 × 3 uint8 are 9"),
        ({"dtype": "object"}, "dtype is 'object'"),
        ({"dtype": ">u2"}, "dtype is '>u2'"),
        ({"crc32c": 1}, "whose pixels have the CRC-32C .* and not 1"),
        ({"kind": "begin"}, "'begin' with 2 parts: it has 1"),
        ({"kind": "end"}, "'end' with 2 parts: it has 1"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], reason: str) -> None:
    error = refusal(json.dumps(RIGHT | {"crc32c": None} | wrong).encode(), bytes(6))
    with pytest.raises(MessageError, match=reason):
        raise error or AssertionError("it was taken")


def test_a_missing_field_is_named() -> None:
    less = {key: value for key, value in RIGHT.items() if key != "timestamp"}
    assert "without timestamp" in str(refusal(json.dumps(less).encode(), bytes(6)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b'{"version": ' + b"9" * 60_000, "no JSON"),
        (b'{"version": NaN, "kind": "end", "stream": "a"}', "version is nan"),
        (b'{"kind": "end", "stream": "\xff"}', "no JSON"),
        (b" " * 70_000, "a header of 70000 bytes; 65536 are the most"),
    ],
)
def test_text_that_is_no_json_is_refused(text: bytes, reason: str) -> None:
    """However deep, long or broken it is."""
    assert reason in str(refusal(text))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999"])
@pytest.mark.parametrize("field", [b'"exposure": %b', b'"instrument": {"a": [%b]}'])
def test_metadata_that_are_no_numbers_are_refused(field: bytes, number: bytes) -> None:
    """So that what is taken can be written into the run."""
    text = (
        b'{"version":1,"kind":"begin","stream":"a","shape":[2,3],"dtype":"uint8","metadata":{%b}}'
    )
    assert "a header" in str(refusal(text % (field % number)))


def test_fields_of_a_later_version_are_left_alone() -> None:
    assert said(crc32c=None, colour="red") == ""


def test_the_metadata_of_the_stream_are_those_of_a_source() -> None:
    known = ImageMetadata(
        pixel_size=(0.5, 0.25), exposure=0.1, channels=("a", "b"), instrument={"gain": None}
    )
    assert StreamMetadata.of(known).as_metadata() == known
