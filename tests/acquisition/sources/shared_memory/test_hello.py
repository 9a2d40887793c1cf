"""Whatever a program says first, it is a hello or is refused."""

import contextlib
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import check_geometry
from forebay.acquisition.sources.shared_memory.messages import (
    HELLO,
    decode_hello,
    encode_refusal,
)

GOOD = (b"fbayring", 1, 64, ord("u") << 8 | 2, 1, 0, 480, 640, 25.0, 0.5)


def test_a_hello_says_what_frames_are_like() -> None:
    hello = decode_hello(HELLO.pack(*GOOD))
    assert hello.geometry.dims == ("y", "x")
    assert hello.geometry.shape == (480, 640)
    assert hello.geometry.dtype == np.dtype("uint16")
    assert hello.waits
    assert (hello.metadata.frame_rate, hello.metadata.exposure) == (25.0, 0.5)


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (0, b"GET / HT", "not the hello"),
        (1, 2, "speaks version 2"),
        (2, 65, "a hello of 65 bytes"),
        (3, ord("u") << 8 | 3, "0x7503 is no type of a pixel"),
        (3, ord("f") << 8 | 1, "no type of a pixel"),
        (4, 2, "waits is 2"),
        (6, 0, r"the shape \(0, 640\)"),
        (7, 2**31, "an axis has 2147483647 at most"),
        (8, math.nan, "frame_rate is nan"),
        (8, -1.0, "frame_rate is -1.0"),
        (9, math.inf, "exposure_seconds is inf"),
    ],
)
def test_each_field_is_looked_at(place: int, value: object, why: str) -> None:
    """The program is told which one was wrong."""
    said = HELLO.pack(*GOOD[:place], value, *GOOD[place + 1 :])
    with pytest.raises(SourceError, match=why):
        decode_hello(said)


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_or_understood(said: bytes) -> None:
    """Nothing but a SourceError comes of them."""
    with contextlib.suppress(SourceError):
        check_geometry(decode_hello(said).geometry)


@given(st.binary(min_size=48, max_size=48), st.sampled_from([0, 1, 2, 2**63]))
def test_any_fields_are_refused_or_understood(fields: bytes, channels: int) -> None:
    """Also behind the right magic, version and size."""
    said = struct.pack("<8sII", *GOOD[:3]) + fields
    with contextlib.suppress(SourceError):
        check_geometry(decode_hello(said).geometry)
    said = HELLO.pack(*GOOD[:5], channels, *GOOD[6:])
    with contextlib.suppress(SourceError):
        assert decode_hello(said).geometry.shape[-2:] == (480, 640)


@given(st.text())
def test_a_refusal_always_has_room_for_its_end(why: str) -> None:
    """The text is UTF-8 and ends with a zero."""
    said = encode_refusal(why)
    assert len(said) == 256
    assert said[-1] == 0
    assert why.startswith(said[64:].split(b"\0")[0].decode())
