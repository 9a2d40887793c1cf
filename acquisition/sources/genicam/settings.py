"""The settings that make the images of a camera what they are."""

from collections.abc import Mapping
from typing import Final

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.genicam.features import Features, Value
from forebay.acquisition.sources.messages import shown

KEPT: Final = (
    "BinningHorizontal",
    "BinningVertical",
    "PixelFormat",
    "Width",
    "Height",
    "OffsetX",
    "OffsetY",
    "TriggerSelector",
    "TriggerMode",
    "TriggerSource",
    "TriggerActivation",
    "ExposureAuto",
    "ExposureMode",
    "ExposureTime",
    "ExposureTimeAbs",
    "GainAuto",
    "GainSelector",
    "Gain",
    "GainRaw",
    "BlackLevel",
    "AcquisitionFrameRateEnable",
    "AcquisitionFrameRate",
    "AcquisitionFrameRateAbs",
)
"""What a camera has again after it came back, in the order in which it is set."""

_AUTOMATIC: Final = {
    "ExposureTime": "ExposureAuto",
    "ExposureTimeAbs": "ExposureAuto",
    "Gain": "GainAuto",
    "GainRaw": "GainAuto",
}
"""What the camera itself changes while a feature is not ``Off``."""

type Settings = Mapping[str, Value]


def read_settings(features: Features) -> Settings:
    """Return what a camera is set to, as far as it can be set.

    Raises
    ------
    AravisError
        If it does not answer.
    """
    return {name: features.read(name) for name in _present(features)}


def restore_settings(features: Features, settings: Settings) -> None:
    """Set a camera to what it was set to before.

    Raises
    ------
    SourceError
        If it cannot be set so.
    AravisError
        If it does not answer.
    """
    for name, value in settings.items():
        if name not in features:
            raise SourceError(
                f"it has come back without the feature {name}, which was {shown(value)}; start "
                "another run for it"
            )
        found = features.read(name)
        if found == value:
            continue
        try:
            features.write_text(name, _text(value))
        except SourceError as error:
            raise SourceError(
                f"it has come back with {name}={shown(found)}, which was {shown(value)} and "
                f"cannot be so again: {error}; start another run for it"
            ) from error


def set_frame_rate(features: Features, rate: float) -> None:
    """Let a camera run at a rate.

    Parameters
    ----------
    features
        The camera's features.
    rate
        Frames per second.

    Raises
    ------
    SourceError
        If it has no rate that can be set, or not that one.
    AravisError
        If it does not answer.
    """
    if "AcquisitionFrameRateEnable" in features:
        features.write_text("AcquisitionFrameRateEnable", "true")
    name = features.first("AcquisitionFrameRate", "AcquisitionFrameRateAbs")
    features.write_text(name or "AcquisitionFrameRate", repr(rate))


def _present(features: Features) -> list[str]:
    return [
        name
        for name in KEPT
        if name in features and features.is_writable(name) and not _is_automatic(features, name)
    ]


def _is_automatic(features: Features, name: str) -> bool:
    automatic = _AUTOMATIC.get(name)
    return automatic is not None and automatic in features and features.read(automatic) != "Off"


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
