"""A camera as text: ``127.0.0.1,PixelFormat=Mono12,ExposureTime=5000``."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ByteSize, TypeAdapter

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown

CAMERA = "camera"
"""What a source is called that is a camera on the network."""

_EXAMPLE = "camera:192.168.7.20,PixelFormat=Mono12,ExposureTime=5000"
_ARGUMENTS: Final = ("rate", "frames")
_FEATURE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Form(NamedTuple):
    """How a value is written."""

    read: Callable[[str], Any]
    wish: str


_OPTIONS: Final[Mapping[str, _Form]] = {
    "buffer_bytes": _Form(
        lambda text: int(TypeAdapter(ByteSize).validate_python(text)), "a size such as 64MiB"
    ),
    "patience": _Form(float, "a number of seconds"),
}


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
        The camera, and behind it items ``name=value``, separated by commas, spaces around them
        being ignored.  The names are features of the camera, set in that order, and the options
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
    for item in rest.split(",") if rest.strip() else ():
        name, separator, value = (part.strip() for part in item.partition("="))
        if not separator or not value or not _FEATURE.fullmatch(name):
            raise SourceError(
                f"{shown(repr(item.strip()))} is not name=value in {CAMERA}:{shown(text)}; write "
                f"for example {_EXAMPLE}"
            )
        if name in features or name in options:
            raise SourceError(f"{name} is given twice in {CAMERA}:{shown(text)}; leave one out")
        if name in _ARGUMENTS:
            raise SourceError(
                f"{name} belongs to the recording, not to the camera: give it as --{name} or "
                f"{name}=…"
            )
        if name in _OPTIONS:
            options[name] = _option(name, value)
        else:
            features[name] = value
    return CameraText(camera.strip(), features, options)


def _option(name: str, text: str) -> Any:
    try:
        return _OPTIONS[name].read(text)
    except ValueError as error:
        wish = _OPTIONS[name].wish
        raise SourceError(f"{name} cannot be {shown(repr(text))}; give {wish}") from error
