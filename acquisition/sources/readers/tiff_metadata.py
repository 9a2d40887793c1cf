"""What a TIFF file says of the instrument that made it."""

import math
from collections.abc import Mapping
from typing import Any

import tifffile

from forebay.acquisition.frames import ImageMetadata
from forebay.acquisition.sources.messages import UNREADABLE

_CENTIMETRE = 3

_MICROMETRES: Mapping[str, float] = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}
_SECONDS: Mapping[str, float] = {
    "s": 1.0,
    "sec": 1.0,
    "ms": 1e-3,
    "µs": 1e-6,
    "μs": 1e-6,
    "us": 1e-6,
    "ns": 1e-9,
    "min": 60.0,
    "h": 3600.0,
}


def tiff_metadata(tif: tifffile.TiffFile) -> ImageMetadata:
    """Return what OME-XML, ImageJ's description or the resolution tags say.

    Resolution tags count when their unit is the centimetre, or ImageJ gives the unit; programs
    write a resolution in inches for printing, whatever the microscope was.  What cannot be
    understood counts as not given.
    """
    if tif.ome_metadata:
        return _from_ome(tif.ome_metadata)
    imagej = tif.imagej_metadata or {}
    unit = _MICROMETRES.get(str(imagej.get("unit", "")).strip().casefold())
    tags = tif.pages.first.tags
    if unit is None and tags.valueof("ResolutionUnit") == _CENTIMETRE:
        unit = _MICROMETRES["cm"]
    pixel = None
    if unit is not None:
        height, width = (_pixel(tags.valueof(f"{axis}Resolution"), unit) for axis in "YX")
        pixel = (height, width) if height and width else None
    interval = _positive(imagej.get("finterval"))
    return ImageMetadata(pixel_size=pixel, frame_rate=1 / interval if interval else None)


def _pixel(pixels_per_unit: Any, unit: float) -> float | None:
    try:
        above, below = pixels_per_unit
        return _positive(below / above * unit)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _positive(value: Any, factor: float | None = 1.0) -> float | None:
    """Return a finite number above 0, or None for anything else."""
    try:
        number = float(value) * (math.nan if factor is None else factor)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < math.inf else None


def _from_ome(text: str) -> ImageMetadata:
    try:
        image = _first(tifffile.xml2dict(text)["OME"]["Image"])
        pixels = image["Pixels"]
    except UNREADABLE:
        return ImageMetadata()
    height, width = (
        _positive(
            pixels.get(f"PhysicalSize{axis}"),
            _MICROMETRES.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).casefold()),
        )
        for axis in "YX"
    )
    plane = _first(pixels.get("Plane", {}))
    exposure = interval = None
    if isinstance(plane, Mapping):
        unit = _SECONDS.get(str(plane.get("ExposureTimeUnit", "s")))
        exposure = _positive(plane.get("ExposureTime"), unit)
    unit = _SECONDS.get(str(pixels.get("TimeIncrementUnit", "s")))
    interval = _positive(pixels.get("TimeIncrement"), unit)
    channels = pixels.get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = [str(c["Name"]) for c in channels if isinstance(c, Mapping) and c.get("Name")]
    return ImageMetadata(
        pixel_size=(height, width) if height and width else None,
        exposure=exposure,
        frame_rate=1 / interval if interval else None,
        channels=tuple(names) if len(names) == len(channels) else (),
    )


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value
