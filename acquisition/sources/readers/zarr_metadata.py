"""What a Zarr group says of its image and of the instrument: OME-Zarr, or a run of forebay's own."""

from collections.abc import Mapping
from typing import Any

from forebay.acquisition.frames import ImageMetadata


def first_image(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the entry of the largest image of an OME-Zarr group; empty for another group."""
    try:
        image = _multiscale(attributes)["datasets"][0]
    except (LookupError, TypeError):
        return {}
    return image if isinstance(image, Mapping) else {}


def axis_names(attributes: Mapping[str, Any]) -> list[str]:
    """Return the names of the axes of an OME-Zarr group's images; none where it gives none."""
    try:
        return [str(axis["name"]).casefold() for axis in _multiscale(attributes)["axes"]]
    except (LookupError, TypeError):
        return []


def image_metadata(attributes: Mapping[str, Any], image: Mapping[str, Any]) -> ImageMetadata:
    """Return what a run, or else an OME-Zarr group, says of an image.

    Of OME-Zarr pixel size and rate count where it gives their units.  What cannot be understood
    counts as not given.
    """
    try:
        if "forebay" in attributes:
            return _of_run(attributes["forebay"])
        return _of_ome(attributes, image)
    except (LookupError, TypeError, ValueError):
        return ImageMetadata()


def _of_run(ours: Mapping[str, Any]) -> ImageMetadata:
    pixel = ours["pixel_size_micrometer"]
    return ImageMetadata(
        pixel_size=(float(pixel[0]), float(pixel[1])) if pixel else None,
        exposure=ours["exposure_seconds"],
        frame_rate=ours["frame_rate_hertz"],
        channels=tuple(ours["channels"]),
        instrument=dict(ours["instrument"]),
    )


def _of_ome(attributes: Mapping[str, Any], image: Mapping[str, Any]) -> ImageMetadata:
    axes = {axis["name"]: axis.get("unit") for axis in _multiscale(attributes)["axes"]}
    lengths = image["coordinateTransformations"][0]["scale"]
    scale = {name: float(size) for name, size in zip(axes, lengths, strict=True)}
    pixel = None
    if axes.get("y") == axes.get("x") == "micrometer" and min(scale["y"], scale["x"]) > 0:
        pixel = (scale["y"], scale["x"])
    period = scale.get("t", 0.0) if axes.get("t") == "second" else 0.0
    return ImageMetadata(pixel_size=pixel, frame_rate=1 / period if period > 0 else None)


def _multiscale(attributes: Mapping[str, Any]) -> Any:
    return attributes.get("ome", attributes)["multiscales"][0]
