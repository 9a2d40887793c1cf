"""What a camera says of itself."""

from dataclasses import dataclass
from typing import Any

from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.genicam.features import Features
from forebay.acquisition.sources.genicam.pixels import PixelFormat

_MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Identity:
    """Which camera it is."""

    vendor: str
    """Who made it."""
    model: str
    """What it is."""
    serial: str
    """Its serial number."""
    firmware: str
    """Version of what runs in it."""


def read_identity(features: Features) -> Identity:
    """Ask a camera who it is.

    Raises
    ------
    AravisError
        If it does not answer.
    """
    names = (
        ("DeviceVendorName",),
        ("DeviceModelName",),
        ("DeviceSerialNumber", "DeviceID"),
        ("DeviceFirmwareVersion", "DeviceVersion"),
    )
    found = [features.first(*alternatives) for alternatives in names]
    return Identity(*(str(features.read(name)) if name else "" for name in found))


def describe(
    features: Features, identity: Identity, pixel_format: PixelFormat, **facts: Any
) -> ImageMetadata:
    """Return what is known of a camera and of how it takes images.

    Parameters
    ----------
    features
        The camera's features.
    identity
        Which camera it is.
    pixel_format
        How its pixels come.
    **facts
        Anything else to say of the instrument, as JSON.

    Raises
    ------
    AravisError
        If it does not answer.
    """
    exposure = _read_number(features, "ExposureTime", "ExposureTimeAbs")
    return ImageMetadata(
        exposure=None if exposure is None else exposure / _MICROSECONDS,
        frame_rate=_frame_rate(features),
        instrument={
            "vendor": identity.vendor,
            "model": identity.model,
            "serial": identity.serial,
            "firmware": identity.firmware,
            "pixel_format": pixel_format.name,
            "bits": pixel_format.bits,
            **facts,
        },
    )


def _frame_rate(features: Features) -> float | None:
    """Return the rate of a camera that runs freely; None for one that is triggered."""
    if "TriggerMode" in features and features.read("TriggerMode") == "On":
        return None
    resulting = _read_number(features, "ResultingFrameRate", "AcquisitionResultingFrameRate")
    if resulting is not None:
        return resulting
    enable = "AcquisitionFrameRateEnable"
    if enable in features and not features.read(enable):
        return None
    return _read_number(features, "AcquisitionFrameRate", "AcquisitionFrameRateAbs")


def _read_number(features: Features, *names: str) -> float | None:
    """Return the first number above 0 that there is under several names."""
    for name in names:
        if name in features:
            value = features.read(name)
            if isinstance(value, int | float) and value > 0:
                return float(value)
    return None
