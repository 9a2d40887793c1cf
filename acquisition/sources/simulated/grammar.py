"""The parameters of a simulated camera as text: ``emitters=50,seed=3,shape=256x256``."""

import dataclasses
from typing import Any, get_args

from forebay.acquisition.errors import SourceError
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.options import items, unknown
from forebay.acquisition.sources.simulated.scene import Scene

_FORMS = {
    int: "a whole number",
    float: "a number",
    tuple[int, int]: "two whole numbers, y first, such as 256x256",
    tuple[float, float]: "two numbers, y first, such as 0.1x-0.2",
}
_OF_THE_CAMERA: dict[str, type] = {"lost_fraction": float}


def parse_simulation(text: str) -> tuple[Scene, dict[str, Any]]:
    """Return the scene that a text describes, and what it says of the camera.

    Parameters
    ----------
    text
        Items ``key=value``, separated by commas, spaces around them being ignored; empty for the
        default scene.  The keys are the fields of `Scene`, and ``lost_fraction``.  A pair is two
        numbers with an ``x`` between them.

    Raises
    ------
    SourceError
        If an item is not of that form, a key is unknown or given twice, or a value is of the
        wrong type or out of range.

    Examples
    --------
    >>> scene, camera = parse_simulation("shape=64x48, drift=0.5x-1e-2, lost_fraction=0.1")
    >>> scene.shape, scene.drift, camera
    ((64, 48), (0.5, -0.01), {'lost_fraction': 0.1})
    """
    kinds = {field.name: field.type for field in dataclasses.fields(Scene)} | _OF_THE_CAMERA
    values: dict[str, Any] = {}
    source, example = f"simulated:{text}", "simulated:emitters=50,seed=3"
    for key, value in items(text, source=source, example=example):
        if key not in kinds:
            raise unknown(key, sorted(kinds), what="a simulated scene")
        values[key] = _value(key, value, kinds[key])
    camera = {key: values.pop(key) for key in _OF_THE_CAMERA if key in values}
    return Scene(**values), camera


def _value(key: str, text: str, kind: Any) -> Any:
    parts, kinds = [text], get_args(kind)
    if kinds:
        parts = text.casefold().replace("×", "x").split("x")
    try:
        read = [one(part) for one, part in zip(kinds or (kind,), parts, strict=True)]
    except ValueError as error:
        raise SourceError(f"{key} cannot be {shown(repr(text))}; give {_FORMS[kind]}") from error
    return tuple(read) if kinds else read[0]
