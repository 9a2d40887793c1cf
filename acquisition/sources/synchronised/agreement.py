"""What several cameras must have in common to become one source, and what is said of them."""

from collections.abc import Sequence

from forebay.acquisition.errors import SourceError
from forebay.acquisition.frames import FrameSource, Geometry, ImageMetadata, check_geometry
from forebay.acquisition.sources.messages import shown
from forebay.acquisition.sources.parameters import whole

MOST_CAMERAS = 8
"""As many as there are bits that say which of them is missing."""


def common_geometry(sources: Sequence[FrameSource], names: Sequence[str]) -> Geometry:
    """Return the layout that the frames of all cameras have.

    Raises
    ------
    SourceError
        If they differ, there are too many, or they are not named one by one.
    """
    whole("the number of cameras", len(sources), 1, MOST_CAMERAS)
    if len(names) != len(sources) or len(set(names)) != len(names) or not all(names):
        raise SourceError(
            f"{len(sources)} cameras cannot have the names {shown(list(names))}; give each a name "
            "of its own"
        )
    first = sources[0].geometry
    for name, source in zip(names, sources, strict=True):
        plane = check_geometry(source.geometry)
        if plane.dims != ("y", "x"):
            raise SourceError(f"camera {shown(name)} has the axes {plane.dims}; it must be (y, x)")
        if plane != first:
            raise SourceError(
                f"camera {shown(name)} has frames of {plane.shape} {plane.dtype}, and camera "
                f"{shown(names[0])} of {first.shape} {first.dtype}; set them alike, or record "
                "each into a run of its own"
            )
    return first


def common_metadata(sources: Sequence[FrameSource], names: Sequence[str]) -> ImageMetadata:
    """Return what is the same for all cameras, and the instrument of each."""
    found = [source.metadata for source in sources]
    first = found[0]
    return ImageMetadata(
        pixel_size=first.pixel_size if len({each.pixel_size for each in found}) == 1 else None,
        exposure=max((each.exposure for each in found if each.exposure is not None), default=None),
        frame_rate=first.frame_rate if len({each.frame_rate for each in found}) == 1 else None,
        channels=tuple(names),
        instrument={
            "cameras": {
                name: dict(each.instrument) for name, each in zip(names, found, strict=True)
            }
        },
    )
