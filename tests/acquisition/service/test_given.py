"""What `acquire` is given is looked at before a run is made, and refused in a sentence."""

from pathlib import Path
from typing import Any

import pytest

from forebay.acquisition import acquire
from forebay.acquisition.errors import ArgumentError
from forebay.acquisition.settings import AcquisitionSettings
from forebay.acquisition.sources import open_source


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"overload": "nothing"}, "overload cannot be 'nothing': Input should be 'block', 'spill'"),
        (
            {"frames_per_block": "many"},
            "frames_per_block cannot be 'many': Input should be a valid",
        ),
        ({"buffer_bytes": -1}, "buffer_bytes cannot be -1: could not parse"),
        ({"overload": "spill"}, "overload = 'spill' "),
        ({"settings": {"frames_per_block": 4}}, "give an AcquisitionSettings"),
        ({"expected_frames": "many"}, "expected_frames is 'many'"),
        ({"expected_frames": -4}, "expected_frames is -4"),
        ({"stop": 1}, "stop is 1: give a threading.Event"),
    ],
)
def test_what_cannot_be_is_refused_and_no_run_is_made(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with (
        open_source("simulated:shape=8x8,emitters=1", frames=2) as source,
        pytest.raises(ArgumentError) as refused,
    ):
        acquire(source, tmp_path / "run", **given)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_goes_before_the_settings(tmp_path: Path) -> None:
    with open_source("simulated:shape=8x8,emitters=1", frames=2) as source:
        settings = AcquisitionSettings(frames_per_block=8)
        status = acquire(source, tmp_path / "run", frames_per_block=1, settings=settings)
    assert status.committed == 2
