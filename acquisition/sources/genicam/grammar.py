"""A camera as text: ``127.0.0.1,PixelFormat=Mono12,ExposureTime=5000``."""

from typing import Any, Final, NamedTuple

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.options import OF_RECORDINGS, SECONDS, SIZE, items, value_of

CAMERA = "camera"
"""What a source is called that is a camera on the network."""

_EXAMPLE = "camera:192.168.7.20,PixelFormat=Mono12,ExposureTime=5000"
_FEATURE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_OPTIONS: Final = {"buffer_bytes": SIZE, "patience": SECONDS}


class CameraText(NamedTuple):
    """What a text says of a camera."""

    camera: str
    """Its address, its id or its serial number."""
    features: dict[str, str]
    """GenICam features to set, in this order; of which type they are, only the camera knows."""
    options: dict[str, Any]
    """Other arguments of `GenicamSource`."""


def parse_camera(text: str) -> CameraText:
    """Return which camera a text names, and what it says of it.

    Parameters
    ----------
    text
        The camera, and behind it items ``key=value``, separated by commas, spaces around them
        being ignored.  The keys are features of the camera, set in that order, and the options
        ``patience`` and ``buffer_bytes``.

    Raises
    ------
    SourceError
        If no camera is named, an item is not of that form, a name is given twice, or the value of
        an option is of the wrong form.

    Examples
    --------
    >>> parse_camera("Aravis-GV01, Width=256, patience=5")
    CameraText(camera='Aravis-GV01', features={'Width': '256'}, options={'patience': 5.0})
    """
    camera, _, rest = text.partition(",")
    if not camera.strip():
        raise SourceError(
            f"{CAMERA}:{shown(text)} names no camera; give its address, its id or its serial "
            f"number, as in {_EXAMPLE}"
        )
    features: dict[str, str] = {}
    options: dict[str, Any] = {}
    for name, value in items(rest, source=f"{CAMERA}:{text}", example=_EXAMPLE, key=_FEATURE):
        if name in OF_RECORDINGS:
            raise SourceError(
                f"{name} belongs to the recording, not to the camera: give it as --{name} or "
                f"{name}=…"
            )
        if name in _OPTIONS:
            options[name] = value_of(name, value, _OPTIONS[name])
        else:
            features[name] = value
    return CameraText(camera.strip(), features, options)
