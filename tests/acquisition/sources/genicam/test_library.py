"""A machine without Aravis."""

import pytest

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam import library


def test_a_library_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And nothing but opening a camera needs it."""
    monkeypatch.setattr(library, "_SIGNATURES", {"libaravis-of-no-machine.so.0": {}})
    with pytest.raises(SourceError, match=r"aravis-of-no-machine.*apt install libaravis-0\.8-0"):
        library.library.__wrapped__()


def test_a_library_that_is_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function that it lacks."""
    missing = {"libc.so.6": {"arv_of_a_later_version": (None, ())}}
    monkeypatch.setattr(library, "_SIGNATURES", missing)
    with pytest.raises(
        SourceError, match=r"too old .*arv_of_a_later_version.* 0\.8\.23 or a later"
    ):
        library.library.__wrapped__()
