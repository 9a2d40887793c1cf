"""The text that names a network source."""

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.acquisition import ImageMetadata
from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.network.grammar import open_network, parse_network


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("tcp://127.0.0.1:5555", {}),
        (" tcp://127.0.0.1:5555 , ", {}),
        ("tcp://127.0.0.1:5555,can_wait=No", {"can_wait": False}),
        (
            "tcp://127.0.0.1:5555, timeout = 1.5, queue_frames=3",
            {"timeout": 1.5, "queue_frames": 3},
        ),
        ("tcp://127.0.0.1:5555,max_frame_bytes=1.5 KiB", {"max_frame_bytes": 1536}),
        (
            "tcp://127.0.0.1:5555,secret_key=keys/a=b.key_secret,senders=keys",
            {"secret_key": "keys/a=b.key_secret", "senders": "keys"},
        ),
    ],
)
def test_a_text_names_an_endpoint_and_options(text: str, options: dict[str, Any]) -> None:
    assert parse_network(text) == ("tcp://127.0.0.1:5555", options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no endpoint; write for example tcp://127.0.0.1:5555"),
        ("127.0.0.1:5555", "is no endpoint"),
        ("tcp://127.0.0.1:*,timout=3", "has no 'timout', but can_wait, .*; did you mean timeout?"),
        ("tcp://127.0.0.1:*,frames=3", "has no 'frames', .*: give it as --frames or frames=…"),
        ("tcp://127.0.0.1:*,qqq=3", "has no 'qqq', but can_wait, .*; choose one of those"),
        ("tcp://127.0.0.1:*,timeout", "'timeout' is not key=value in network:tcp"),
        ("tcp://127.0.0.1:*,timeout=", "'timeout=' is not key=value in network:tcp"),
        ("tcp://127.0.0.1:*,timeout=1,timeout=2", "timeout is given twice in network:tcp"),
        ("tcp://127.0.0.1:*,timeout=soon", "timeout cannot be 'soon'; give a number of seconds"),
        ("tcp://127.0.0.1:*,timeout=nan", "timeout cannot be nan"),
        ("tcp://127.0.0.1:*,can_wait=maybe", "can_wait cannot be 'maybe'; give yes or no"),
        ("tcp://127.0.0.1:*,queue_frames=1.5", "queue_frames cannot be '1.5'; give a whole number"),
        ("tcp://127.0.0.1:*,max_frame_bytes=big", "max_frame_bytes cannot be 'big'; give a size"),
        ("tcp://127.0.0.1:*,max_frame_bytes=0", "max_frame_bytes cannot be 0"),
        ("tcp://192.0.2.1:5555", "beyond this machine"),
        ("tcp://127.0.0.1:*,timeout=0", "no stream has begun at tcp://127.0.0.1:"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        open_network(text)


@settings(deadline=None)
@given(text=st.text(max_size=40))
def test_no_text_gives_anything_but_options_or_one_line(text: str) -> None:
    said = ""
    try:
        parse_network(f"tcp://127.0.0.1:5555,{text}")
    except SourceError as error:
        said = str(error)
    assert said.isprintable()


def test_a_rate_is_the_senders_to_choose() -> None:
    with pytest.raises(SourceError, match="come at their sender's rate; leave out rate"):
        open_network("tcp://127.0.0.1:5555", rate=10.0)


def test_opening_can_be_cancelled() -> None:
    """The endpoint is free again then."""
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(SourceError, match="stopped before a stream began"):
        open_network("tcp://127.0.0.1:*", cancelled=cancelled, metadata=ImageMetadata())
